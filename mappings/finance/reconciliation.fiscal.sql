-- 非税收入对账 → 财源信息基础库：银行入账的明细，与缴款明细是同一条记录
select
    concat_ws(':', 'FS', PJZL, JKSBH, XMSX)   as record_key,
    '2'                                       as kind_code,
    clean_text(SRXMBM)                        as item_code,
    cn_amount(JE, '元')                       as amount_yuan,
    cn_amount(JE, '元') < 0                   as correction,
    cn_date(DZRQ)                             as reconciled_on
from source
