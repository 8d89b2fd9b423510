-- 税款和社会保险费征收信息 → 财源信息基础库
select
    concat_ws(':', 'TAX', clean_text(DJXH), code('tax_item', ZSXM_DM), SKSSQQ, SKSSQZ, YZPZXH, YZPZMXXH)
                                              as record_key,                 -- 纳税人 + 项目 + 所属期 + 凭证明细
    case when starts_with(code('tax_item', ZSXM_DM), '102') then '4' else '1' end
                                              as kind_code,
    coalesce(uscc(TYSHXYDM), or_null(uscc(NSRSBH)))
                                              as payer_code,                 -- 2015 年以后税号就是统一社会信用代码
    org_name(NSRMC)                           as payer_name,
    clean_text(DJXH)                          as payer_no,
    code('tax_item', ZSXM_DM)                 as item_code,
    cn_date(SKSSQQ)                           as period_from,
    cn_date(SKSSQZ)                           as period_to,
    cn_date(RKRQ)                             as received_on,
    cn_amount(SE, '元')                       as amount_yuan,
    cn_amount(SE, '元') < 0                   as correction,                 -- 负数是更正、退库
    concat('TAX:', YZPZXH)                         as bill_no,
    cn_amount(PZHJ, '元')                     as bill_total_yuan,
    code('budget_level', YSJC)                as level_code,
    clean_text(SWJGMC)                        as authority,
    region(SWJGMC)                            as region_code
from source
