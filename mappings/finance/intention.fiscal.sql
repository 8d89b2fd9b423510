-- 政府采购意向公开 → 财源信息基础库
select
    concat_ws(':', 'CG', 链接, 子序号)        as record_key,
    '5'                                       as kind_code,
    clean_text(采购项目名称)                  as item_name,
    cn_date(发布时间)                         as received_on,
    cn_amount("预算金额(万元)", '万元')       as amount_yuan,                -- 列的单位是万元，单元格里写了单位的以单元格为准
    org_name(regexp_replace(标题, '[0-9]{4}年.*$', ''))
                                              as authority,                  -- 标题 = 采购人 + 年月 + “政府采购意向”
    region(地区)                              as region_code
from source
