-- 数字证书吊销列表 → 电子印章基础信息库（证书绑定）
select
    clean_text(印章标识)                      as es_id,
    upper(clean_text(证书序列号))             as certificate_no,
    '07'                                      as certificate_status_code
from source
where not null_token(印章标识)
