-- 规模以上工业总产值 → 财源信息基础库：只有汇总，而且不少于三个单位的汇总
select
    concat_ws(':', 'TJ', 行业代码, 所在区市, cn_period(所属期))
                                              as record_key,
    '7'                                       as kind_code,
    code('industry_division', 行业代码)       as item_code,
    concat(clean_text(行业), '工业总产值')    as item_name,
    cn_date(concat(cn_period(所属期), '-01')) as period_from,
    cn_amount(工业总产值_本月, '万元')        as amount_yuan,
    '统计局'                                  as authority,
    region(所在区市)                          as region_code
from source
where 单位数 is null or 单位数 >= 3                                          -- 更少就能推断出单个单位；没写的按契约拒收
