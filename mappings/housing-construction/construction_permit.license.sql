-- 建筑工程施工许可 → 电子证照基础信息库
select
    clean_text(SGXKZBH)                       as license_no,
    code('license_type', '建筑工程施工许可证') as type_code,
    '建筑工程施工许可证'                      as name,
    org_name(JSDW)                            as holder_name,
    uscc(JSDWDM)                              as holder_code,
    '001'                                     as holder_type_code,
    clean_text(FZJG)                          as issuer,
    uscc(FZJGDM)                              as issuer_code,
    cn_date(FZRQ)                             as issued_on,
    code('license_status', ZT)                as status_code,
    clean_text(XMBH)                          as project_no
from source
