-- 电子印章文件（.esl）→ 电子印章基础信息库：文件里签了名的内容；印章是否有效由登记系统说
select
    clean_text(esID)                          as es_id,
    clean_text(name)                          as name,
    code('seal_type', type)                   as type_code,
    cn_timestamp(made)                        as made_at,
    cn_date("from")                           as valid_from,
    cn_date(until)                            as valid_until,
    upper(clean_text(bearer_serial))          as certificate_no,
    case when clean_text(bearer_issuer) like 'CN=%' then substr(clean_text(bearer_issuer), 4)
         else clean_text(bearer_issuer) end   as certificate_issuer,
    lower(clean_text(picture_sm3))            as picture_sm3,
    clean_text(standard)                      as standard,
    lower(clean_text(sm3))                    as file_sm3
from source
