-- 电子证照目录 → 电子证照基础信息库
select
    cert_id(ZZBS)                             as cert_id,                    -- GB/T 36904，GB/T 17710 校验
    clean_text(ZZBH)                          as license_no,
    code('license_type', ZZLXDM)              as type_code,
    clean_text(ZZMC)                          as name,
    case when CZZTDMLXDM = '001' then org_name(CZZT) else person_name(CZZT) end
                                              as holder_name,
    case when CZZTDMLXDM = '001' then uscc(CZZTDM)
         when CZZTDMLXDM = '111' then citizen_id(CZZTDM)
         else clean_text(CZZTDM) end          as holder_code,
    code('holder_type', CZZTDMLXDM)           as holder_type_code,
    clean_text(ZZBFJG)                        as issuer,
    uscc(ZZBFJGDM)                            as issuer_code,
    cn_date(ZZBFRQ)                           as issued_on,
    cn_date(ZZYXQQSRQ)                        as valid_from,
    or_null(cn_date(ZZYXQJZRQ))               as valid_until,                -- 长期为空
    code('license_status', ZZZT)              as status_code
from source
