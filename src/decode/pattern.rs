//! File name patterns: `QYDJ_*.csv`, `????-参保.txt`.

/// Whether `name` matches `pattern`, in which `*` stands for any characters (also none) and `?` for one. Everything
/// else is literal, upper and lower case differ. A name that begins with a dot is matched only by a pattern that does.
pub fn matches(pattern: &str, name: &str) -> bool {
    if name.starts_with('.') && !pattern.starts_with('.') {
        return false;
    }
    let pattern: Vec<char> = pattern.chars().collect();
    let name: Vec<char> = name.chars().collect();
    let (mut p, mut n) = (0, 0);
    // Where to go back to: after the last star, and the name's position it has reached.
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p + 1, n));
                p += 1;
            }
            Some(c) if *c == '?' || name.get(n) == Some(c) => {
                p += 1;
                n += 1;
            }
            _ => {
                let Some((after, reached)) = star else { return false };
                star = Some((after, reached + 1));
                (p, n) = (after, reached + 1);
            }
        }
    }
    pattern.get(p..).is_some_and(|rest| rest.iter().all(|c| *c == '*'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_and_question_marks_match_as_in_a_shell() {
        let check =
            |pattern: &str, name: &str, expect: bool| assert_eq!(matches(pattern, name), expect, "{pattern} {name}");
        check("QYDJ_*.csv", "QYDJ_20260101.csv", true);
        check("QYDJ_*.csv", "QYDJ_.csv", true);
        check("QYDJ_*.csv", "QYDJ_1.csv.tmp", false);
        check("QYDJ_*.csv", "qydj_1.csv", false);
        check("*", "企业.csv", true);
        check("????-参保.txt", "2026-参保.txt", true);
        check("?.txt", "参保.txt", false);
        check("*a*b", "aab", true);
        check("*a*b", "aba", false);
        check("a.csv", "a.csv", true);
        check("a.csv", "axcsv", false);
        check("", "", true);
        check("*", ".partial.csv", false);
        check(".*", ".partial.csv", true);
        check("**", "x", true);
        check(&"*a".repeat(30), &"a".repeat(200), true);
        check(&("*a".repeat(30) + "b"), &"a".repeat(200), false);
    }
}
