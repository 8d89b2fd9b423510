-- 社会保障卡发放信息 → 人口基础信息库
select
    citizen_id(AAC002)                        as citizen_id,                 -- 15 位升 18 位，并记录
    person_name(AAC003)                       as name,
    or_null(phone(AAE005))                    as phone,
    clean_text(AAZ500)                        as card_no,
    code('card_status', AAZ502)               as card_status_code,
    cn_date(AAZ503)                           as card_issued_on,
    clean_text(AAE008)                        as card_bank
from source
