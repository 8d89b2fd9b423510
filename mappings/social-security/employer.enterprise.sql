-- 参保单位信息 → 法人基础信息库
select
    uscc(AAB998)                              as uscc,                       -- 老单位可能只有组织机构代码
    org_code(AAB003)                          as organization_code,
    org_name(AAB004)                          as name,
    region(AAB301)                            as region_code,
    greatest(YLBXRS, YILBXRS, SYBXRS, GSBXRS) as insured_count               -- 来源曾把险种列填错位，取最大值
from source
