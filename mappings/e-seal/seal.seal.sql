-- 电子印章登记 → 电子印章基础信息库
select
    clean_text(esID)                          as es_id,
    clean_text(yzbm)                          as seal_no,
    clean_text(yzmc)                          as name,
    code('seal_type', yzlx)                   as type_code,
    uscc(ssdwdm)                              as holder_code,
    org_name(ssdwmc)                          as holder_name,
    org_name(zzdw)                            as maker,
    cn_timestamp(zzsj)                        as made_at,
    cn_timestamp(zzsj) + interval '24 hours'  as filing_due_at,              -- 制章之后 24 小时内报公安机关备案
    cn_timestamp(basj)                        as filed_at,
    cn_date(yxqq)                             as valid_from,
    or_null(cn_date(yxqz))                    as valid_until,                -- 长期为空
    code('seal_status', zt)                   as status_code,
    clean_text(ztyy)                          as status_reason,
    upper(clean_text(zsxlh))                  as certificate_no,
    clean_text(zsbfz)                         as certificate_issuer,
    lower(clean_text(tx_sm3))                 as picture_sm3,
    clean_text(xzbs)                          as successor_id
from source
