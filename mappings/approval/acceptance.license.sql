-- 受理与特别程序 → 电子证照基础信息库：这张证是在承诺的时限内办结的吗
select
    clean_text(result_cetr_no)                as license_no,
    clean_text(project_no)                    as project_no,
    cn_timestamp(accept_date)                 as accepted_at,
    cn_timestamp(promise_date)                as promised_by,                -- 特别程序期间不计时，部门已经顺延
    special_days                              as suspended_days
from source
where result_cetr_no is not null                                             -- 还没有办结的没有证
