-- 行政许可办理结果 → 电子证照基础信息库
select
    clean_text(result_cetr_no)                as license_no,
    code('license_type', result_cetr_name)    as type_code,
    clean_text(result_cetr_name)              as name,
    case when applyer_type = '2' then org_name(applyer_name) else person_name(applyer_name) end
                                              as holder_name,
    case when applyer_type = '2' then uscc(applyer_page_code) else citizen_id(applyer_page_code) end
                                              as holder_code,
    case when applyer_type = '2' then '001' else '111' end
                                              as holder_type_code,
    or_null(phone(contact_mobile))            as holder_phone,
    clean_text(org_name)                      as issuer,
    uscc(org_code)                            as issuer_code,
    cn_date(result_date)                      as issued_on,
    cn_timestamp(finish_time)                 as decided_at,
    cn_date(valid_from)                       as valid_from,
    or_null(cn_date(valid_to))                as valid_until,                -- 长期为空
    code('license_status', status)            as status_code,
    clean_text(project_no)                    as project_no
from source
