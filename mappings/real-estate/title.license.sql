-- 不动产登记簿证书信息 → 电子证照基础信息库
select
    translate(clean_text(BDCQZH), '（）', '()') as license_no,               -- 鲁(2020)青岛市不动产权第0012345号
    code('license_type', '不动产权证书')      as type_code,
    '不动产权证书'                            as name,
    case when starts_with(trim(ZJH), '9')
         then org_name(split_part(translate(trim(QLR), ',，/;；', '、、、、、'), '、', 1))
         else person_name(split_part(translate(trim(QLR), ',，/;；', '、、、、、'), '、', 1)) end
                                              as holder_name,                -- 几个权利人写在一格里：登记簿上的第一个
    case when starts_with(trim(ZJH), '9')
         then uscc(split_part(translate(trim(ZJH), ',，/;；', '、、、、、'), '、', 1))
         else citizen_id(split_part(translate(trim(ZJH), ',，/;；', '、、、、、'), '、', 1)) end
                                              as holder_code,
    case when starts_with(trim(ZJH), '9') then '001' else '111' end
                                              as holder_type_code,
    case when null_token(QLR) then null
         else 1 + char_length(translate(trim(QLR), ',，/;；', '、、、、、'))
                - char_length(replace(translate(trim(QLR), ',，/;；', '、、、、、'), '、', '')) end
                                              as holder_count,               -- 按份和共同共有的人数
    clean_text(DJJG)                          as issuer,
    cn_date(SZRQ)                             as issued_on,
    or_null(cn_date(SYQX))                    as valid_until,
    code('license_status', QLZT)              as status_code,
    replace(clean_text(BDCDYH), ' ', '')      as property_unit_no            -- 印刷件上 6-3-3-2-5-9 之间有空格
from source
