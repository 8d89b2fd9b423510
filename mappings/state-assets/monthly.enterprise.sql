-- 国有企业月度财务快报 → 法人基础信息库
select
    uscc(统一社会信用代码)                    as uscc,
    org_name(企业名称)                        as name,
    code('soe_level', 级次)                   as state_owned_level,
    org_name(出资人)                          as investor,
    cn_period(所属期)                         as assets_month,
    cn_amount(case when null_token(资产总额) then null else concat(资产总额, 金额单位) end, '万元')
                                              as total_assets_yuan,          -- 有的集团报元，有的报万元：单位在旁边一列
    cn_amount(case when null_token(净利润) then null else concat(净利润, 金额单位) end, '万元')
                                              as net_profit_yuan
from source
where not starts_with(trim(企业名称), '其中') and not starts_with(trim(企业名称), '合计')     -- “其中:”和合计不是企业
