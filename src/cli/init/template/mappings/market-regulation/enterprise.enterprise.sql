-- 映射：数据集 market-regulation.enterprise → 基础库 enterprise。文件名是 <数据集>.<基础库>.sql。
-- A conversion that fails sends its row to quarantine (问题数据) with column and reason; or_null(…) and or_default(…)
-- say otherwise. `huiliu check` compiles this against the contract and the register.
select
    uscc(统一社会信用代码)                   as uscc,
    org_name(企业名称)                       as name,                    -- 全角、括号、空格
    or_null(code('enterprise_type', 企业类型)) as type_code,             -- mappings/codes/enterprise_type.csv
    or_null(cn_amount(注册资本, '万元'))     as registered_capital_yuan,
    cn_date(成立日期)                        as established_on,          -- 2015年7月3日 · 20150703 · 2015-07-03
    person_name(法定代表人)                  as legal_representative,
    clean_text(登记状态)                     as status
from source
where 登记状态 <> '注销中'                   -- rows left out are counted
