-- 法定代表人信息 → 法人基础信息库：补证件号码、电话和组织机构代码
select
    uscc(统一社会信用代码)                    as uscc,
    or_null(org_code(right(left(uscc(统一社会信用代码), 17), 9)))
                                              as organization_code,          -- 信用代码第 9–17 位，认得出只报旧代码的单位
    org_name(企业名称)                        as name,
    person_name(法定代表人)                   as legal_representative,
    case when 证件类型 in ('居民身份证', '10') then citizen_id(证件号码) end
                                              as legal_representative_id,    -- 护照等其他证件不进此列
    or_null(phone(联系电话))                  as phone
from source
