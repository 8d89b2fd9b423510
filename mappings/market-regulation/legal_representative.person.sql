-- 法定代表人信息 → 人口基础信息库：只取持居民身份证的
select
    citizen_id(证件号码)                      as citizen_id,                 -- 15 位升 18 位，并记录
    person_name(法定代表人)                   as name,
    or_null(phone(联系电话))                  as phone
from source
where 证件类型 in ('居民身份证', '10')
