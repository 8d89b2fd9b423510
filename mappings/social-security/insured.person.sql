-- 参保人员信息 → 人口基础信息库
select
    citizen_id(AAE135)                        as citizen_id,                 -- 15 位升 18 位，并记录
    person_name(AAC003)                       as name,
    code('gender', AAC004)                    as gender_code,
    code('ethnic', AAC005)                    as ethnic_code,
    cn_date(AAC006)                           as birth_date,
    region(AAC301)                            as household_region_code,
    clean_text(AAE006)                        as address,
    or_null(phone(AAE005))                    as phone,
    or_null(uscc(AAB998))                     as employer_uscc,
    org_name(AAB004)                          as employer_name,
    code('insured_status', AAC031)            as insured_status_code,
    clean_text(AAC001)                        as personal_no,
    cn_amount(AAE180, '元')                   as contribution_base_yuan      -- 不予共享，只留本库
from source
