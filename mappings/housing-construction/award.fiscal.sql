-- 工程招标投标中标结果 → 财源信息基础库（税源线索）
select
    concat_ws(':', 'ZB', BID_SECTION_CODE)    as record_key,
    '6'                                       as kind_code,
    uscc(case when char_length(trim(BIDDER_ORG_CODE)) = 18 then BIDDER_ORG_CODE end)
                                              as payer_code,                 -- 联合体和 9 位代码不填，名称保留
    org_name(WINNINGBIDDER_NAME)              as payer_name,
    clean_text(TENDER_PROJECT_NAME)           as item_name,
    cn_date(AWARD_DATE)                       as received_on,
    case when trim(PRICE_UNIT) = '费率' then null
         else cn_amount(case when null_token(WIN_BID_PRICE) then null else concat(WIN_BID_PRICE, PRICE_UNIT) end, '万元') end
                                              as amount_yuan,                -- 费率不是钱
    org_name(TENDERER_NAME)                   as authority,
    region(REGION)                            as region_code
from source
