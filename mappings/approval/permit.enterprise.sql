-- 行政许可办理结果 → 法人基础信息库：只取法人申请人
select
    uscc(applyer_page_code)                   as uscc,
    org_name(applyer_name)                    as name,
    or_null(person_name(legal))               as legal_representative,
    clean_text(address)                       as address,
    or_null(phone(contact_mobile))            as phone
from source
where applyer_type = '2'
