//! File name patterns: `*` is any run of characters, `?` is one character, everything else is itself.

/// Whether `name` is one that `pattern` means.
pub(super) fn matches(pattern: &str, name: &str) -> bool {
    let (pattern, name): (Vec<char>, Vec<char>) = (pattern.chars().collect(), name.chars().collect());
    let (mut p, mut n) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, n));
                p += 1;
            }
            Some(c) if *c == '?' || *c == name[n] => {
                p += 1;
                n += 1;
            }
            _ => match star {
                // The last star takes one character more.
                Some((at, taken)) => {
                    star = Some((at, taken + 1));
                    p = at + 1;
                    n = taken + 1;
                }
                None => return false,
            },
        }
    }
    pattern.get(p..).is_some_and(|rest| rest.iter().all(|c| *c == '*'))
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn names_match_as_a_shell_would_say() {
        for (pattern, name, expected) in [
            ("QYDJ_*.csv", "QYDJ_20261101.csv", true),
            ("QYDJ_*.csv", "QYDJ_.csv", true),
            ("QYDJ_*.csv", "QYDJ_1.csv.tmp", false),
            ("*", "企业.xlsx", true),
            ("企业?.xlsx", "企业甲.xlsx", true),
            ("企业?.xlsx", "企业.xlsx", false),
            ("a*b*c", "a1b2b3c", true),
            ("a*b*c", "a1c2b", false),
            ("", "", true),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
    }
}
