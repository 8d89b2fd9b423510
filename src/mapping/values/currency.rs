//! Currencies 币种 by the names that registers write, as ISO 4217 codes (GB/T 12406 has the numeric ones).
//!
//! Decides: which names are unmistakable. 法郎, 马克 or `$` alone are not; extinct currencies keep their code and are
//! not converted.

/// Names and codes. Within a shared beginning the longer name comes first.
const CURRENCIES: [(&str, &str); 94] = [
    ("人民币", "CNY"),
    ("美元", "USD"),
    ("美金", "USD"),
    ("港币", "HKD"),
    ("港元", "HKD"),
    ("香港元", "HKD"),
    ("香港币", "HKD"),
    ("日元", "JPY"),
    ("日圆", "JPY"),
    ("日币", "JPY"),
    ("欧元", "EUR"),
    ("英镑", "GBP"),
    ("德国马克", "DEM"),
    ("西德马克", "DEM"),
    ("法国法郎", "FRF"),
    ("瑞士法郎", "CHF"),
    ("比利时法郎", "BEF"),
    ("卢森堡法郎", "LUF"),
    ("新加坡元", "SGD"),
    ("新加坡币", "SGD"),
    ("澳大利亚元", "AUD"),
    ("澳元", "AUD"),
    ("加拿大元", "CAD"),
    ("加元", "CAD"),
    ("新西兰元", "NZD"),
    ("新台湾元", "TWD"),
    ("新台币", "TWD"),
    ("台湾元", "TWD"),
    ("台币", "TWD"),
    ("澳门元", "MOP"),
    ("澳门币", "MOP"),
    ("韩国元", "KRW"),
    ("韩国圆", "KRW"),
    ("韩元", "KRW"),
    ("韩币", "KRW"),
    ("意大利里拉", "ITL"),
    ("荷兰盾", "NLG"),
    ("奥地利先令", "ATS"),
    ("芬兰马克", "FIM"),
    ("西班牙比塞塔", "ESP"),
    ("葡萄牙埃斯库多", "PTE"),
    ("爱尔兰镑", "IEP"),
    ("德拉克马", "GRD"),
    ("瑞典克朗", "SEK"),
    ("挪威克朗", "NOK"),
    ("丹麦克朗", "DKK"),
    ("捷克克朗", "CZK"),
    ("俄罗斯卢布", "RUB"),
    ("卢布", "RUB"),
    ("泰国铢", "THB"),
    ("泰铢", "THB"),
    ("马来西亚林吉特", "MYR"),
    ("林吉特", "MYR"),
    ("菲律宾比索", "PHP"),
    ("印度卢比", "INR"),
    ("巴基斯坦卢比", "PKR"),
    ("尼泊尔卢比", "NPR"),
    ("越南盾", "VND"),
    ("印度尼西亚盾", "IDR"),
    ("印尼盾", "IDR"),
    ("缅元", "MMK"),
    ("坚戈", "KZT"),
    ("图格里克", "MNT"),
    ("沙特里亚尔", "SAR"),
    ("科威特第纳尔", "KWD"),
    ("南非兰特", "ZAR"),
    ("土耳其里拉", "TRY"),
    ("墨西哥比索", "MXN"),
    ("RMB", "CNY"),
    ("CNY", "CNY"),
    ("USD", "USD"),
    ("HKD", "HKD"),
    ("JPY", "JPY"),
    ("EUR", "EUR"),
    ("GBP", "GBP"),
    ("SGD", "SGD"),
    ("AUD", "AUD"),
    ("CAD", "CAD"),
    ("CHF", "CHF"),
    ("KRW", "KRW"),
    ("TWD", "TWD"),
    ("MOP", "MOP"),
    ("NZD", "NZD"),
    ("RUB", "RUB"),
    ("DEM", "DEM"),
    ("FRF", "FRF"),
    ("US$", "USD"),
    ("HK$", "HKD"),
    ("￥", "CNY"),
    ("¥", "CNY"),
    ("€", "EUR"),
    ("£", "GBP"),
    ("￡", "GBP"),
    ("S$", "SGD"),
];

/// The currency that a text starts with, and the rest; `true` when its name says the unit (美元, ￥, 英镑) and not only
/// the kind of money (人民币, 港币).
pub(super) fn strip(text: &str) -> Option<(&'static str, bool, &str)> {
    CURRENCIES.iter().find_map(|&(name, code)| {
        let rest = text.strip_prefix(name)?;
        let kind_only = name.ends_with('币') || name.ends_with('金') || name.bytes().all(|b| b.is_ascii_uppercase());
        Some((code, !kind_only, rest))
    })
}

/// Whether an unknown word looks like a currency.
pub(super) fn looks_like_one(word: &str) -> bool {
    const ENDINGS: [&str; 20] = [
        "元",
        "圆",
        "币",
        "镑",
        "马克",
        "法郎",
        "克朗",
        "卢布",
        "卢比",
        "里拉",
        "比索",
        "盾",
        "铢",
        "先令",
        "第纳尔",
        "里亚尔",
        "兰特",
        "福林",
        "克瓦查",
        "$",
    ];
    let iso = word.len() == 3 && word.bytes().all(|b| b.is_ascii_uppercase());
    iso || ENDINGS.iter().any(|ending| word.ends_with(ending))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_hides_a_longer_one_behind_it() {
        for (i, (name, _)) in CURRENCIES.iter().enumerate() {
            for (earlier, _) in CURRENCIES.iter().take(i) {
                assert!(!name.starts_with(earlier), "{earlier} would swallow the start of {name}");
            }
        }
    }

    #[test]
    fn names_are_found_and_doubtful_ones_are_not() {
        assert_eq!(strip("美元)"), Some(("USD", true, ")")));
        assert_eq!(strip("人民币元"), Some(("CNY", false, "元")));
        assert_eq!(strip("港币"), Some(("HKD", false, "")));
        assert_eq!(strip("马克"), None);
        assert!(looks_like_one("马克") && looks_like_one("XYZ") && !looks_like_one("股"));
    }
}
