//! Citizens' numbers and mobile numbers (公民身份号码，手机号) that stand in text where nobody looks for them: 备注, 住所, 经营范围.
//!
//! Decides: what counts as one. A citizen's number is 18 characters with region, birth day and check character (GB
//! 11643-1999), or 15 digits with region and birth day; a mobile number is 1, then 3–9, then nine digits. Digits may be
//! full-width, and groups of them may be parted by single blanks or hyphens. Whole groups only: eleven digits inside a longer
//! run are no mobile number, but for +86, 0086 and a trunk 0 before them. Bank cards (16, 17 or 19 digits) are not looked
//! for, and a card of 18 digits counts only where region, day and check character all hold, which one in several thousand does;
//! an amount (before or after a decimal point) is no number of anybody. Numbers in Chinese numerals are not found.
//!
//! Guarantees: linear in the length of the text, without backtracking; a text with fewer than eleven digits costs one look
//! at its bytes.

use crate::mapping::values::is_citizen_id;

/// Digits of the shortest of them.
const SHORTEST: usize = 11;
/// Digits of the longest of them.
const LONGEST: usize = 18;
/// How mobile numbers are grouped by people.
const MOBILE: [&[usize]; 7] = [&[11], &[3, 4, 4], &[3, 8], &[7, 4], &[4, 4, 3], &[5, 6], &[3, 3, 5]];
/// How numbers of 15 digits are.
const OLD: [&[usize]; 3] = [&[15], &[6, 6, 3], &[6, 2, 2, 2, 3]];
/// Letters of a word that may stand directly before a mobile number: tel, wx, QQ.
const WORD: usize = 6;

/// What was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    CitizenId,
    Mobile,
}

/// One number in a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Hit {
    pub(super) kind: Kind,
    /// Its bytes in the text.
    pub(super) from: usize,
    pub(super) to: usize,
    /// The same for the same number however it is written: 18 characters, or 11 digits.
    pub(super) number: String,
}

/// A run of digits without anything between them.
struct Group {
    from: usize,
    to: usize,
    /// Where its digits begin among those of the text.
    first: usize,
    digits: usize,
    /// Whether the group before it is one separator away.
    joined: bool,
}

/// Every number in a text, in order.
pub(super) fn find(text: &str) -> Vec<Hit> {
    if !may_hold(text) {
        return Vec::new();
    }
    let (digits, groups) = groups(text);
    let (mut hits, mut next) = (Vec::new(), 0);
    while next < groups.len() {
        match longest(text, &digits, groups.get(next..).unwrap_or_default()) {
            Some((hit, used)) => {
                hits.push(hit);
                next += used;
            }
            None => next += 1,
        }
    }
    hits
}

/// The text with a star for every digit of these.
pub(super) fn hidden(text: &str, hits: &[Hit]) -> String {
    let mut out = String::with_capacity(text.len());
    let mut hits = hits.iter().peekable();
    for (at, c) in text.char_indices() {
        while hits.peek().is_some_and(|hit| hit.to <= at) {
            hits.next();
        }
        let inside = hits.peek().is_some_and(|hit| hit.from <= at);
        out.push(if inside && (digit(c).is_some() || is_x(c)) { '*' } else { c });
    }
    out
}

/// Whether the whole of a text, but for blanks around it, is this one.
pub(super) fn is_all_of(text: &str, hit: &Hit) -> bool {
    text.get(hit.from..hit.to) == Some(text.trim())
}

/// Whether there may be enough digits: digits, and bytes with which full-width ones begin. One pass that the compiler unrolls.
fn may_hold(text: &str) -> bool {
    let begins = |byte: &&u8| byte.is_ascii_digit() || **byte == 0xef;
    text.len() >= SHORTEST && text.as_bytes().iter().filter(begins).count() >= SHORTEST
}

fn digit(c: char) -> Option<u8> {
    match c {
        '0'..='9' => u8::try_from(u32::from(c)).ok(),
        '０'..='９' => u8::try_from(u32::from(c) - u32::from('０')).ok().map(|n| n + b'0'),
        _ => None,
    }
}

fn is_x(c: char) -> bool {
    matches!(c, 'X' | 'x' | 'Ｘ' | 'ｘ')
}

fn groups(text: &str) -> (Vec<u8>, Vec<Group>) {
    let (mut digits, mut groups): (Vec<u8>, Vec<Group>) = (Vec::new(), Vec::new());
    // How many characters that may part groups stand between the last digit and here; None: something else does.
    let mut between = None;
    for (at, c) in text.char_indices() {
        if let Some(digit) = digit(c) {
            match groups.last_mut().filter(|_| between == Some(0)) {
                Some(group) => {
                    (group.to, group.digits) = (at + c.len_utf8(), group.digits + 1);
                }
                None => groups.push(Group {
                    from: at,
                    to: at + c.len_utf8(),
                    first: digits.len(),
                    digits: 1,
                    joined: between == Some(1),
                }),
            }
            digits.push(digit);
            between = Some(0);
        } else if matches!(c, ' ' | '-' | '\u{3000}' | '\u{a0}' | '－' | '‐' | '‑') {
            between = between.map(|n: usize| n + 1);
        } else {
            between = None;
        }
    }
    (digits, groups)
}

/// The longest number that begins with the first of these groups, and how many of them it takes.
fn longest(text: &str, digits: &[u8], groups: &[Group]) -> Option<(Hit, usize)> {
    let first = groups.first()?;
    let (mut sizes, mut total, mut found) = (Vec::with_capacity(4), 0, None);
    for (n, group) in groups.iter().enumerate() {
        total += group.digits;
        if total > LONGEST || (n > 0 && !group.joined) {
            break;
        }
        sizes.push(group.digits);
        let Some(number) = digits.get(first.first..first.first + total) else { break };
        let behind = text.get(group.to..).unwrap_or_default();
        let around = (text.get(..first.from).unwrap_or_default(), behind);
        if let Some((kind, number, end)) = judge(number, &sizes, around) {
            found = Some((Hit { kind, from: first.from, to: group.to + end, number }, n + 1));
        }
    }
    found
}

/// What these digits are, if they are one, and how many bytes behind them belong to it.
fn judge(digits: &[u8], sizes: &[usize], (before, behind): (&str, &str)) -> Option<(Kind, String, usize)> {
    let text = std::str::from_utf8(digits).ok()?;
    let letter_follows = |behind: &str| behind.starts_with(|c: char| c.is_ascii_alphabetic());
    match digits.len() {
        18 if !letter_follows(behind) && is_citizen_id(text) => Some((Kind::CitizenId, text.to_owned(), 0)),
        17 => {
            let x = behind.chars().next().filter(|c| is_x(*c))?;
            let rest = behind.get(x.len_utf8()..).unwrap_or_default();
            let number = format!("{text}X");
            let whole = !letter_follows(rest) && is_citizen_id(&number);
            whole.then_some((Kind::CitizenId, number, x.len_utf8()))
        }
        15 if OLD.contains(&sizes) && !letter_follows(behind) => upgraded(text)
            .map(|number| (Kind::CitizenId, number, 0))
            .or_else(|| behind_prefix("0086", text, sizes, (before, behind))),
        15 => behind_prefix("0086", text, sizes, (before, behind)),
        13 => behind_prefix("86", text, sizes, (before, behind)),
        12 => behind_prefix("0", text, sizes, (before, behind)),
        11 => mobile(text, sizes, (before, behind)),
        _ => None,
    }
}

/// A mobile number behind a country code or a trunk 0, which may be a group of its own.
fn behind_prefix(prefix: &str, digits: &str, sizes: &[usize], around: (&str, &str)) -> Option<(Kind, String, usize)> {
    let (first, rest) = sizes.split_first()?;
    let left = first.checked_sub(prefix.len())?;
    let mut shape = rest.to_vec();
    if left > 0 {
        shape.insert(0, left);
    }
    mobile(digits.strip_prefix(prefix)?, &shape, around)
}

fn mobile(digits: &str, sizes: &[usize], (before, behind): (&str, &str)) -> Option<(Kind, String, usize)> {
    let shaped =
        matches!(digits.as_bytes(), [b'1', b'3'..=b'9', ..]) && digits.len() == SHORTEST && MOBILE.contains(&sizes);
    let point = |text: &str, rest: Option<char>| {
        matches!(text.chars().next(), Some('.' | '．')) && rest.is_some_and(|c| digit(c).is_some())
    };
    let fraction = point(behind, behind.chars().nth(1));
    let mut back = before.chars().rev();
    let amount =
        fraction || (matches!(back.next(), Some('.' | '．')) && back.next().is_some_and(|c| digit(c).is_some()));
    let word = before.chars().rev().take_while(char::is_ascii_alphabetic).count();
    let inside_code = word > WORD
        || before.chars().rev().nth(word).is_some_and(|c| word > 0 && digit(c).is_some())
        || behind.starts_with(|c: char| c.is_ascii_alphabetic());
    (shaped && !amount && !inside_code).then(|| (Kind::Mobile, digits.to_owned(), 0))
}

/// 15 digits as the 18 characters of the same person.
fn upgraded(digits: &str) -> Option<String> {
    crate::mapping::values::citizen_id_of_15(digits).filter(|number| is_citizen_id(number))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A number of nobody: region 370202, born 1949-10-01, with its check character.
    const ID: &str = "370202194910010016";
    const WITH_X: &str = "11010519491231002X";

    fn check(text: &str, hidden_as: &str) {
        assert_eq!(hidden(text, &find(text)), hidden_as, "{text}");
    }

    fn id() -> String {
        (0..10)
            .map(|last| format!("37020219491001001{last}"))
            .chain(std::iter::once("37020219491001001X".to_owned()))
            .find(|number| is_citizen_id(number))
            .unwrap()
    }

    #[test]
    fn citizens_numbers_are_found_however_they_are_written() {
        let id = id();
        let stars = "*".repeat(18);
        check(&format!("经办人{id}，已核"), &format!("经办人{stars}，已核"));
        check(&format!("身份证ID{WITH_X}"), &format!("身份证ID{stars}"));
        check(&WITH_X.to_lowercase(), &stars);
        let wide: String = WITH_X
            .chars()
            .map(|c| if c == 'X' { 'Ｘ' } else { char::from_u32(u32::from(c) + 0xfee0).unwrap() })
            .collect();
        check(&format!("（{wide}）"), &format!("（{stars}）"));
        check("110105 19491231 002X", "****** ******** ****");
        check("110105-1949-1231-002x。", "******-****-****-****。");
        check("旧证110105491231002号", "旧证***************号");
        check("110105 491231 002", "****** ****** ***");
        check(&format!("{WITH_X}{WITH_X}"), &format!("{stars}{stars}"));
        check(&format!("{WITH_X}、{WITH_X}"), &format!("{stars}、{stars}"));
    }

    #[test]
    fn mobile_numbers_are_found_however_they_are_written() {
        check("电话13800138000。", "电话***********。");
        check("１３８００１３８０００", "***********");
        check("138 0013 8000 / 139-0013-9000", "*** **** **** / ***-****-****");
        check("+8613800138000, +86-13800138000", "+*************, +**-***********");
        check("wx13800138000 QQ:13900139000@qq.com", "wx*********** QQ:***********@qq.com");
        check("13800138000 13900139000", "*********** ***********");
        check("013800138000，008613800138000", "************，***************");
    }

    #[test]
    fn what_only_looks_like_one_is_left() {
        for text in [
            "",
            "青岛市市南区香港中路10号",
            "1380013800",         // ten digits
            "12800138000",        // no such prefix
            "913702027137145218", // a credit code of digits only
            "6222021234567890",   // bank cards: 16, 17, 19 digits, and 18 that are nobody's number
            "62220212345678901",
            "6222021234567890123",
            "622202138001380001",
            "6222 0213 8001 3800",
            "13800138000.50元",
            "3.13800138000",
            "370202194910010017123",
            "370202199913010011", // no such day
            "990105194912310021", // no such region
            "15-20 1234567",      // a span and a number
            "MA13800138000K",
            "a3f13800138000c9",
            "2026-11-22 08:30:05 123456",
        ] {
            check(text, text);
        }
        let wrong = format!("{}{}", ID.get(..17).unwrap(), if id().ends_with('1') { '2' } else { '1' });
        check(&wrong, &wrong);
    }

    #[test]
    fn the_same_number_is_the_same_however_it_is_written() {
        let number = |text: &str| find(text).pop().unwrap().number;
        assert_eq!(number("110105491231002"), WITH_X);
        assert_eq!(number("１１０１０５ 19491231 002ｘ"), WITH_X);
        assert_eq!(number("+86 138-0013-8000"), "13800138000");
        assert!(is_all_of(" 13800138000 ", &find(" 13800138000 ")[0]));
        assert!(!is_all_of("电话13800138000", &find("电话13800138000")[0]));
    }

    proptest! {
        #[test]
        fn nothing_is_left_and_nothing_else_is_touched(text in "[0-9Xx０-９ .A-Za-z-]{0,60}|.{0,40}") {
            let hits = find(&text);
            let out = hidden(&text, &hits);
            prop_assert_eq!(out.chars().count(), text.chars().count());
            prop_assert!(hits.windows(2).all(|two| two[0].to <= two[1].from));
            for hit in &hits {
                prop_assert!(text.get(hit.from..hit.to).is_some());
            }
        }
    }
}
