-- 数字证书签发记录 → 电子印章基础信息库（证书绑定）
select
    clean_text(印章标识)                      as es_id,
    upper(clean_text(证书序列号))             as certificate_no,
    clean_text(颁发者)                        as certificate_issuer,
    code('license_status', 证书状态)          as certificate_status_code
from source
where not null_token(印章标识)                                               -- 不绑定印章的证书
