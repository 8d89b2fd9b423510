-- 市场主体登记信息 → 法人基础信息库
select
    uscc(统一社会信用代码)                    as uscc,                       -- GB 32100: 校验位不对的不入库
    org_name(企业名称)                        as name,                       -- 全角、括号、空格
    or_null(person_name(法定代表人))          as legal_representative,
    code('enterprise_type', 企业类型)         as type_code,
    cn_amount(注册资本, '万元')               as registered_capital_yuan,    -- 未写单位的按万元
    cn_date(成立日期)                         as established_on,             -- 2015年7月3日 · 20150703 · 2015/7/3
    clean_text(经营范围)                      as business_scope,
    clean_text(登记机关)                      as registration_authority,
    region(登记机关, 住所)                    as region_code,                -- 区划不明只记录，不拒收
    clean_text(住所)                          as address,
    code('enterprise_status', 登记状态)       as status_code
from source
