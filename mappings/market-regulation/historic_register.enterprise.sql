-- 历史登记公示数据 → 法人基础信息库：代码严格，其余从宽
select
    case when char_length(trim(统一社会信用代码)) <> 15 then uscc(统一社会信用代码) end
                                              as uscc,
    case when char_length(trim(统一社会信用代码)) = 15 then registration_no(统一社会信用代码) end
                                              as registration_no,            -- 旧 15 位注册号常填在代码栏
    org_name(企业名称)                        as name,
    or_null(person_name(法人代表))            as legal_representative,
    or_null(code('enterprise_type', 企业类型)) as type_code,
    or_null(cn_amount(注册资金, '万元'))      as registered_capital_yuan,
    or_null(cn_date(注册日期))                as established_on,
    clean_text(经营范围)                      as business_scope,
    region(地区, 注册地址)                    as region_code,
    clean_text(注册地址)                      as address
from source
