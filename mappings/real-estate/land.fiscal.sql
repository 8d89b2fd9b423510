-- 国有建设用地使用权出让结果 → 财源信息基础库
select
    concat_ws(':', 'TD', 合同编号)            as record_key,
    '3'                                       as kind_code,
    uscc(case when char_length(trim(竞得人代码)) = 18 then 竞得人代码 end)
                                              as payer_code,                 -- 联合竞得不填代码，名称保留
    org_name(竞得人)                          as payer_name,
    clean_text(宗地名称)                      as item_name,
    cn_date(成交日期)                         as received_on,
    cn_amount("成交价(万元)", '万元')         as amount_yuan,
    org_name(出让人)                          as authority,
    region(所属区市)                          as region_code
from source
