-- 纳税人登记信息 → 法人基础信息库
select
    uscc(SHXYDM)                              as uscc,
    coalesce(
        org_code(ZZJG_DM),
        case when char_length(trim(NSRSBH)) = 15 then org_code(right(trim(NSRSBH), 9)) end
    )                                         as organization_code,          -- 旧 15 位税号 = 区划 6 位 + 组织机构代码 9 位
    org_name(NSRMC)                           as name,
    or_null(person_name(FDDBRXM))             as legal_representative,
    or_null(citizen_id(FDDBRSFZJHM))          as legal_representative_id,
    clean_text(ZCDZ)                          as address,
    region(ZGSWJ_MC, ZCDZ)                    as region_code,
    or_null(phone(LXDH))                      as phone,
    code('industry', HYMC)                    as industry_code,
    code('taxpayer_status', NSRZT_DM)         as taxpayer_status_code,
    clean_text(ZGSWJ_MC)                      as tax_authority,
    clean_text(YHZH)                          as bank_account                -- 不予共享，只留本库
from source
