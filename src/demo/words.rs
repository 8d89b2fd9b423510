//! The word lists the city is made of: common surnames, streets, trades. Nobody and nothing real is meant.

/// Common surnames.
pub(super) const SURNAMES: &[&str] = &[
    "王", "李", "张", "刘", "陈", "杨", "赵", "黄", "周", "吴", "徐", "孙", "胡", "朱", "高", "林", "何", "郭", "马",
    "罗", "梁", "宋", "郑", "谢", "韩", "唐", "冯", "于", "董", "萧", "程", "曹", "袁", "邓", "许", "傅", "沈", "曾",
    "彭", "吕", "欧阳", "司马",
];
/// Characters of given names, mostly of women.
pub(super) const GIVEN_FEMALE: &[&str] = &[
    "芳", "娜", "敏", "静", "丽", "艳", "娟", "秀", "兰", "霞", "桂", "英", "华", "玉", "萍", "红", "慧", "倩", "雪",
    "琳",
];
/// Characters of given names, mostly of men.
pub(super) const GIVEN_MALE: &[&str] = &[
    "伟", "强", "磊", "军", "洋", "勇", "杰", "涛", "明", "超", "平", "刚", "波", "辉", "斌", "鹏", "浩", "宇", "坤",
    "建",
];

/// One county-level district: code (GB/T 2260), name, streets.
pub(super) struct District {
    pub(super) code: &'static str,
    pub(super) name: &'static str,
    pub(super) streets: &'static [&'static str],
}

/// The districts of the city.
pub(super) const DISTRICTS: &[District] = &[
    District {
        code: "370202", name: "市南区", streets: &["香港中路", "漳州二路", "闽江路", "宁夏路"]
    },
    District {
        code: "370203", name: "市北区", streets: &["辽宁路", "山东路", "延吉路", "黑龙江南路"]
    },
    District {
        code: "370211", name: "黄岛区", streets: &["长江中路", "漓江西路", "井冈山路", "滨海大道"]
    },
    District { code: "370212", name: "崂山区", streets: &["海尔路", "仙霞岭路", "苗岭路", "松岭路"] },
    District {
        code: "370213", name: "李沧区", streets: &["京口路", "金水路", "重庆中路", "九水东路"]
    },
    District {
        code: "370214", name: "城阳区", streets: &["正阳路", "春阳路", "青大路", "黑龙江北路"]
    },
    District { code: "370215", name: "即墨区", streets: &["鹤山路", "振华街", "蓝鳌路", "烟青路"] },
    District {
        code: "370281", name: "胶州市", streets: &["福州南路", "北京东路", "扬州路", "泸州路"]
    },
    District { code: "370283", name: "平度市", streets: &["红旗路", "人民路", "青岛路", "杭州路"] },
    District { code: "370285", name: "莱西市", streets: &["烟台路", "威海东路", "石岛路", "上海路"] },
];

/// Where people who moved here were first registered.
pub(super) const OTHER_REGIONS: &[&str] = &["370102", "370602", "370702", "371302"];

/// First and second characters of trade names.
pub(super) const BRAND_FIRST: &[&str] = &[
    "海", "鲁", "瑞", "恒", "金", "云", "蓝", "东", "鑫", "华", "泰", "胜", "港", "琴", "崂", "胶", "博", "润", "嘉",
    "宏", "启", "盛", "远", "信", "安", "正", "天", "和", "立", "中",
];
/// Second characters of trade names.
pub(super) const BRAND_SECOND: &[&str] = &[
    "蓝", "信", "丰", "通", "谷", "岸", "方", "帆", "达", "源", "诚", "利", "顺", "隆", "昌", "康", "宁", "佳", "晟",
    "德", "捷", "飞", "腾", "越", "新", "光", "泽", "川", "林", "悦",
];

/// One line of business: the word in the name, section of GB/T 4754, scope, serials of the licence types it needs.
pub(super) struct Trade {
    pub(super) word: &'static str,
    pub(super) section: &'static str,
    pub(super) scope: &'static str,
    pub(super) permits: &'static [u32],
}

/// Lines of business.
pub(super) const TRADES: &[Trade] = &[
    Trade {
        word: "信息技术",
        section: "信息传输、软件和信息技术服务业",
        scope: "软件开发；信息系统集成服务；数据处理和存储支持服务",
        permits: &[8],
    },
    Trade {
        word: "建筑工程",
        section: "建筑业",
        scope: "各类工程建设活动；建筑劳务分包；建筑材料销售（依法须经批准的项目，经相关部门批准后方可开展经营活动）",
        permits: &[3, 3, 4],
    },
    Trade {
        word: "食品", section: "制造业", scope: "食品生产；食品销售；农副产品加工", permits: &[2]
    },
    Trade {
        word: "国际物流",
        section: "交通运输、仓储和邮政业",
        scope: "国内货物运输代理；国际货物运输代理；普通货物仓储服务",
        permits: &[6],
    },
    Trade {
        word: "贸易",
        section: "批发和零售业",
        scope: "货物进出口；技术进出口；日用百货销售；机械设备销售",
        permits: &[2],
    },
    Trade {
        word: "水产", section: "农、林、牧、渔业", scope: "水产养殖；水产品冷冻加工；水产品批发", permits: &[2]
    },
    Trade {
        word: "机械制造",
        section: "制造业",
        scope: "通用设备制造；机械零件、零部件加工；机械设备销售",
        permits: &[8],
    },
    Trade {
        word: "餐饮管理", section: "住宿和餐饮业", scope: "餐饮服务；餐饮管理；食品销售", permits: &[2, 8]
    },
    Trade {
        word: "人力资源",
        section: "租赁和商务服务业",
        scope: "人力资源服务；劳务派遣服务；企业管理咨询",
        permits: &[5],
    },
    Trade {
        word: "生物科技",
        section: "科学研究和技术服务业",
        scope: "生物基材料技术研发；技术服务、技术开发、技术咨询",
        permits: &[8],
    },
    Trade {
        word: "置业", section: "房地产业", scope: "房地产开发经营；物业管理；住房租赁", permits: &[3]
    },
    Trade {
        word: "汽车服务",
        section: "居民服务、修理和其他服务业",
        scope: "机动车修理和维护；汽车零配件零售；洗车服务",
        permits: &[6],
    },
];

/// Kind of body: register's wording, class of its code, end of its name, weight.
pub(super) struct BodyKind {
    pub(super) title: &'static str,
    pub(super) class: &'static str,
    pub(super) suffix: &'static str,
}

/// Kinds of bodies, as often as they occur.
pub(super) const BODY_KINDS: &[BodyKind] = &[
    BodyKind { title: "有限责任公司(自然人投资或控股)", class: "91", suffix: "有限公司" },
    BodyKind { title: "有限责任公司（自然人投资或控股）", class: "91", suffix: "有限公司" },
    BodyKind { title: "有限责任公司(自然人投资或控股)", class: "91", suffix: "有限责任公司" },
    BodyKind { title: "有限责任公司(自然人投资或控股)", class: "91", suffix: "集团有限公司" },
    BodyKind { title: "有限责任公司(自然人独资)", class: "91", suffix: "有限公司" },
    BodyKind { title: "有限责任公司(自然人独资)", class: "91", suffix: "有限公司" },
    BodyKind { title: "股份有限公司(非上市)", class: "91", suffix: "股份有限公司" },
    BodyKind { title: "N/A", class: "91", suffix: "有限公司" },
    BodyKind { title: "个人独资企业", class: "91", suffix: "中心" },
    BodyKind { title: "个体工商户", class: "92", suffix: "商行" },
    BodyKind { title: "个体工商户", class: "92", suffix: "经营部" },
    BodyKind { title: "农民专业合作社", class: "93", suffix: "专业合作社" },
];

/// Register statuses, as often as they occur.
pub(super) const STATUSES: &[&str] = &[
    "在营（开业）企业",
    "在营（开业）企业",
    "在营（开业）企业",
    "在营（开业）企业",
    "在营（开业）企业",
    "在营（开业）企业",
    "在营（开业）企业",
    "在营（开业）企业",
    "吊销，未注销",
    "注销",
];

/// The ethnic groups of the insured, as often as they occur here.
pub(super) const ETHNIC: &[&str] =
    &["汉族", "汉族", "汉族", "汉族", "汉", "汉族", "汉族", "01", "汉族", "汉族", "满族", "回族", "朝鲜族", "蒙古族"];
