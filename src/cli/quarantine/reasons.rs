//! What every reason code means, in the words of the department that has to correct the row.
//!
//! Guarantees (by test): every refusal of `docs/refusals.md` has a sentence here, and so have contract and decoders.

/// Chinese and English sentence of a reason code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Meaning {
    /// For the department.
    pub(super) chinese: &'static str,
    /// For everybody else.
    pub(super) english: &'static str,
}

/// The meaning of a code; `None` for a code that is not ours (from a later version).
pub(super) fn meaning(code: &str) -> Option<Meaning> {
    let (_, chinese, english) = MEANINGS.iter().find(|(known, ..)| *known == code)?;
    Some(Meaning { chinese, english })
}

/// One reason in Chinese: `信用代码: 统一社会信用代码校验位不符 (uscc_check_digit)`; `columns` may be empty.
pub(super) fn chinese(columns: &str, code: &str) -> String {
    let text = meaning(code).map_or("不符合要求", |meaning| meaning.chinese);
    if columns.is_empty() { format!("{text} ({code})") } else { format!("{columns}: {text} ({code})") }
}

const MEANINGS: &[(&str, &str, &str)] = &[
    // 合同与基础库 contract and register
    ("contract_type", "单元格的内容不是约定的类型", "the cell is not of the contracted type"),
    ("required", "必填项为空", "a required value is missing"),
    ("rule", "不符合基础库的校验规则", "a rule of the register is broken"),
    ("no_key", "没有可用的标识，无法确定是哪个主体", "no key names the entity this row is about"),
    ("code_unknown", "代码或名称不在代码表中", "the code or name is not in the code table"),
    ("state_unknown", "状态不在基础库的状态机中", "the register's states do not know this one"),
    ("sql_error", "映射中的表达式无法计算", "an expression of the mapping cannot be computed"),
    ("mapping_panic", "映射计算异常中断", "the mapping broke off on this row"),
    // 读取 decoding
    ("bad_utf8", "不是有效的 UTF-8 文字", "the bytes are not valid UTF-8"),
    ("bad_gb18030", "不是有效的 GB18030 文字", "the bytes are not valid GB18030"),
    ("nul_byte", "含有空字节", "the row contains a NUL byte"),
    ("column_count", "列数与表头不一致", "the number of cells differs from the header"),
    ("row_too_long", "一行过长", "the row is longer than the limit"),
    ("unclosed_quote", "引号没有闭合", "a quote is never closed"),
    ("bad_json", "不是有效的 JSON", "the record is not valid JSON"),
    ("bad_xml", "不是有效的 XML", "the record is not well-formed XML"),
    ("too_deep", "嵌套层数过多", "the record is nested too deeply"),
    ("too_many_parts", "一条记录的明细过多", "a record has too many details"),
    ("bad_record", "记录的结构不对", "the record is not built as its format wants"),
    ("row_length", "一行的长度与约定不一致", "the row is longer or shorter than its columns"),
    ("split_character", "定长字段切断了一个汉字", "a fixed column cuts a character"),
    ("bad_crc", "HJ 212 报文的 CRC 不符", "the CRC of the frame is wrong (HJ 212)"),
    ("bad_length", "HJ 212 报文的长度不符", "the frame has another length than it says (HJ 212)"),
    ("bad_frame", "不是完整的 HJ 212 报文", "this is no whole frame (HJ 212)"),
    ("unknown_operation", "增删改标志不在约定的写法之中", "the row's operation is none of the known words"),
    ("poison_message", "收件队列中的消息读不懂", "the message of the queue does not read"),
    // 统一社会信用代码 GB 32100-2015
    ("uscc_length", "统一社会信用代码应为 18 位", "a unified social credit code has 18 characters"),
    ("uscc_charset", "统一社会信用代码含有不允许的字符", "the code has characters that GB 32100 does not allow"),
    ("uscc_check_digit", "统一社会信用代码校验位不符", "the check character of the code is wrong (GB 32100)"),
    ("uscc_placeholder", "统一社会信用代码是占位内容", "the code is a placeholder"),
    ("uscc_masked", "统一社会信用代码已被遮盖", "the code is masked"),
    ("uscc_is_citizen_id", "填写的是公民身份号码", "this is a citizen identity number"),
    ("uscc_is_org_code", "填写的是组织机构代码", "this is an organisation code"),
    ("uscc_is_registration_no", "填写的是工商注册号", "this is a registration number"),
    (
        "uscc_is_registration_no_bad",
        "填写的是校验位不符的工商注册号",
        "this is a registration number with a wrong check digit",
    ),
    ("uscc_is_legacy_13", "填写的是 13 位旧注册号", "this is an old registration number of 13 digits"),
    ("uscc_is_legacy_text", "填写的是旧式文字注册号", "this is an old registration number in words"),
    // 公民身份号码 GB 11643
    ("citizen_id_length", "公民身份号码应为 15 或 18 位", "an identity number has 15 or 18 characters"),
    ("citizen_id_charset", "公民身份号码含有不允许的字符", "the identity number has characters that are not allowed"),
    ("citizen_id_check_digit", "公民身份号码校验位不符", "the check digit of the identity number is wrong (GB 11643)"),
    ("citizen_id_date", "公民身份号码中的出生日期不存在", "the birth date in the identity number does not exist"),
    (
        "citizen_id_centenarian",
        "15 位旧号码属于百岁老人，不能自动升位",
        "a 15-digit number of a person born before 1900 cannot be extended safely",
    ),
    ("citizen_id_future", "公民身份号码中的出生日期晚于今天", "the birth date in the identity number is in the future"),
    ("citizen_id_masked", "公民身份号码已被遮盖", "the identity number is masked"),
    ("citizen_id_placeholder", "公民身份号码是占位内容", "the identity number is a placeholder"),
    // 组织机构代码 GB 11714 · 注册号 GS 15-2006
    ("org_code_length", "组织机构代码应为 9 位", "an organisation code has 9 characters"),
    ("org_code_charset", "组织机构代码含有不允许的字符", "the organisation code has characters that are not allowed"),
    (
        "org_code_check_digit",
        "组织机构代码校验位不符",
        "the check character of the organisation code is wrong (GB 11714)",
    ),
    ("org_code_is_uscc", "填写的是统一社会信用代码", "this is a unified social credit code"),
    ("org_code_placeholder", "组织机构代码是占位内容", "the organisation code is a placeholder"),
    ("registration_no_length", "注册号位数不符", "the registration number has a wrong length"),
    (
        "registration_no_charset",
        "注册号含有不允许的字符",
        "the registration number has characters that are not allowed",
    ),
    ("registration_no_check_digit", "注册号校验位不符", "the check digit of the registration number is wrong"),
    ("registration_no_is_uscc", "填写的是统一社会信用代码", "this is a unified social credit code"),
    ("registration_no_placeholder", "注册号是占位内容", "the registration number is a placeholder"),
    // 证照标识 GB/T 36904
    ("cert_id_shape", "电子证照标识的格式不符", "the license identifier has another shape"),
    ("cert_id_root", "电子证照标识的根代码不符", "the license identifier has another root"),
    ("cert_id_charset", "电子证照标识含有不允许的字符", "the license identifier has characters that are not allowed"),
    ("cert_id_check", "电子证照标识校验位不符", "the check character of the license identifier is wrong"),
    // 日期 dates
    ("date_unreadable", "不是可识别的日期", "this does not read as a date"),
    ("date_impossible", "日期不存在", "there is no such day"),
    ("date_ambiguous", "日期有多种读法", "the date can be read in more than one way"),
    ("date_out_of_range", "日期超出合理范围", "the date is out of range"),
    ("date_open_end", "是“长期”而不是日期", "this says open-ended, which is not a date"),
    ("date_is_period", "填写的是期限而不是日期", "this is a period, not a date"),
    ("date_is_range", "填写的是起止范围而不是日期", "this is a range of dates, not a date"),
    ("period_unreadable", "不是可识别的期限", "this does not read as a period"),
    ("period_is_date", "填写的是日期而不是期限", "this is a date, not a period"),
    // 金额 amounts
    ("amount_unreadable", "不是可识别的金额", "this does not read as an amount"),
    ("amount_ambiguous", "金额有多种读法", "the amount can be read in more than one way"),
    ("amount_unit_missing", "金额没有单位", "the amount has no unit"),
    ("amount_currency_unknown", "币种不明", "the currency is not known"),
    ("amount_out_of_range", "金额超出合理范围", "the amount is out of range"),
    ("amount_precision", "金额小数位过多", "the amount has too many decimals"),
    ("amount_is_range", "填写的是金额范围", "this is a range of amounts"),
    ("amount_is_rate", "填写的是比例而不是金额", "this is a rate, not an amount"),
    // 其他 others
    ("name_is_number", "姓名或名称是数字", "the name is a number"),
    ("phone_unreadable", "不是可识别的电话号码", "this does not read as a telephone number"),
    ("phone_several", "填写了多个电话号码", "there is more than one telephone number"),
    ("phone_masked", "电话号码已被遮盖", "the telephone number is masked"),
    ("region_unknown", "行政区划不明", "the administrative division is not known (GB/T 2260)"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_names_its_column_in_the_departments_words() {
        assert_eq!(chinese("uscc", "uscc_check_digit"), "uscc: 统一社会信用代码校验位不符 (uscc_check_digit)");
        assert_eq!(chinese("", "bad_utf8"), "不是有效的 UTF-8 文字 (bad_utf8)");
        assert_eq!(chinese("x", "of_tomorrow"), "x: 不符合要求 (of_tomorrow)");
    }

    #[test]
    fn every_documented_refusal_has_a_sentence() {
        let documented = include_str!("../../../docs/refusals.md");
        let codes: Vec<&str> = documented
            .lines()
            .filter_map(|line| line.strip_prefix("| `")?.split_once('`'))
            .map(|(code, _)| code)
            .collect();
        assert!(codes.len() > 50, "only {} codes were found", codes.len());
        for code in codes {
            assert!(meaning(code).is_some(), "{code}");
        }
    }

    #[test]
    fn no_code_is_explained_twice() {
        for (i, (code, ..)) in MEANINGS.iter().enumerate() {
            assert!(MEANINGS.iter().skip(i + 1).all(|(other, ..)| other != code), "{code}");
        }
    }
}
