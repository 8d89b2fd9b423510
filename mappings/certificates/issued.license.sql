-- 数字证书签发记录 → 电子证照基础信息库
select
    upper(clean_text(证书序列号))             as license_no,                 -- 十六进制，大写
    code('license_type', '数字证书')          as type_code,
    '数字证书'                                as name,
    org_name(单位名称)                        as holder_name,
    uscc(统一社会信用代码)                    as holder_code,
    '001'                                     as holder_type_code,
    clean_text(颁发者)                        as issuer,
    cn_date(生效日期)                         as issued_on,
    cn_date(生效日期)                         as valid_from,
    cn_date(失效日期)                         as valid_until,
    code('license_status', 证书状态)          as status_code
from source
