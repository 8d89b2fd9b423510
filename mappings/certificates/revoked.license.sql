-- 数字证书吊销列表 → 电子证照基础信息库
select
    upper(clean_text(证书序列号))             as license_no,
    code('license_type', '数字证书')          as type_code,
    '07'                                      as status_code                 -- 吊销是终态
from source
