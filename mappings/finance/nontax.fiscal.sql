-- 非税收入缴款明细 → 财源信息基础库
select
    concat_ws(':', 'FS', PJZL, JKSBH, XMSX)   as record_key,
    '2'                                       as kind_code,
    uscc(FKRDM)                               as payer_code,
    case when null_token(FKRDM) then person_name(FKRMC) else org_name(FKRMC) end
                                              as payer_name,
    clean_text(SRXMBM)                        as item_code,
    clean_text(SRXMMC)                        as item_name,
    cn_date(JKRQ)                             as received_on,
    cn_amount(JE, '元')                       as amount_yuan,
    cn_amount(JE, '元') < 0                   as correction,
    concat_ws(':', 'FS', PJZL, JKSBH)         as bill_no,
    cn_amount(ZJE, '元')                      as bill_total_yuan,            -- 明细之和应当等于总金额，register review 核查
    code('budget_level', YSJC)                as level_code,
    org_name(ZSDWMC)                          as authority,
    region(XZQH)                              as region_code
from source
