-- 污染源自动监测小时数据 → 污染源监测信息库
select
    concat_ws(':', MN, coalesce(factor_2017, factor), DataTime)
                                              as sample_key,                 -- 补传、重传的是同一条
    clean_text(MN)                            as monitor_no,
    code('monitor_system', ST)                as medium_code,
    code('pollutant', coalesce(factor_2017, factor))
                                              as factor_code,
    cn_timestamp(DataTime)                    as sampled_at,
    case when coalesce(标记, 'N') in ('N', 'T', 'S') then Avg end
                                              as average,                    -- 其余时候的读数（常常是 0）不是测值
    case when coalesce(标记, 'N') in ('N', 'T', 'S') then Cou end
                                              as discharged,
    code('monitor_flag', 标记)                as flag_code
from source
