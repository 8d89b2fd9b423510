-- 排污许可证 → 电子证照基础信息库
select
    upper(clean_text(许可证编号))             as license_no,                 -- 统一社会信用代码 + 三位数字 + 一位字母
    code('license_type', '排污许可证')        as type_code,
    '排污许可证'                              as name,
    org_name(单位名称)                        as holder_name,
    uscc(统一社会信用代码)                    as holder_code,
    '001'                                     as holder_type_code,
    clean_text(发证机关)                      as issuer,
    cn_date(发证日期)                         as issued_on,
    cn_date(有效期起)                         as valid_from,
    or_null(cn_date(有效期止))                as valid_until,
    code('license_status', 状态)              as status_code
from source
