-- 高新技术企业名单 → 电子证照基础信息库
select
    clean_text(证书编号)                      as license_no,
    code('license_type', '高新技术企业证书')  as type_code,
    '高新技术企业证书'                        as name,
    org_name(企业名称)                        as holder_name,
    uscc(统一社会信用代码)                    as holder_code,
    '001'                                     as holder_type_code,
    clean_text(批准机关)                      as issuer,
    cn_date(发证日期)                         as issued_on,                  -- 文本日期或 Excel 日期序号
    cn_date(发证日期)                         as valid_from,
    cn_date(有效期至)                         as valid_until
from source
