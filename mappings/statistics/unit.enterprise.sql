-- 一套表单位报表 → 法人基础信息库：报表里的数全部不予共享（见 registers/enterprise.yaml）
select
    uscc(QY101)                               as uscc,
    org_name(QY102)                           as name,
    code('unit_size', QY191)                  as unit_size_code,
    cn_period(SSQ)                            as statistics_period,
    B202_01                                   as employees,
    cn_amount(B203_25, '千元')                as revenue_yuan,
    cn_amount(B204_01, '千元')                as output_yuan
from source
