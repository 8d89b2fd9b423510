//! What the city has permitted: permits of the approval hall and business licences, as functions of an index.
//!
//! Approval reports a permit, e-license its certificate: the same number, holder and dates, hence one entity.

use chrono::NaiveDate;

use super::city::City;
use super::identifiers;

/// USCC of the body that defined the certificate types of this city (made up).
const DEFINER: &str = "11370200MB9X00007L";

/// One kind of licence: its serial among the types, its name, prefix of its numbers, years it lasts, and the issuer.
pub(super) struct LicenceKind {
    serial: u32,
    pub(super) name: &'static str,
    prefix: &'static str,
    years: u64,
    pub(super) issuer: &'static str,
    pub(super) issuer_code: &'static str,
}

const fn kind(
    serial: u32,
    name: &'static str,
    prefix: &'static str,
    years: u64,
    issuer: (&'static str, &'static str),
) -> LicenceKind {
    LicenceKind { serial, name, prefix, years, issuer: issuer.0, issuer_code: issuer.1 }
}

const HALL: (&str, &str) = ("行政审批服务局", "11370200MB9X00015F");
const HOUSING: (&str, &str) = ("住房和城乡建设局", "11370200MB9X00023A");
const MARKET: (&str, &str) = ("市场监督管理局", "11370200MB9X000315");
const HEALTH: (&str, &str) = ("卫生健康委员会", "11370200MB9X0004XW");

/// The kinds the approval hall issues.
const PERMITS: [LicenceKind; 6] = [
    kind(2, "食品经营许可证", "JY", 5, HALL),
    kind(3, "建筑业企业资质证书", "D2370", 5, HOUSING),
    kind(4, "安全生产许可证", "鲁JZ安许证字", 3, HOUSING),
    kind(5, "人力资源服务许可证", "3702", 5, HALL),
    kind(6, "道路运输经营许可证", "鲁交运管许可青字", 4, HALL),
    kind(8, "公共场所卫生许可证", "青卫公证字", 4, HEALTH),
];
const BUSINESS_LICENCE: LicenceKind = kind(1, "营业执照", "", 0, MARKET);

/// One licence.
pub(super) struct Licence {
    pub(super) kind: &'static LicenceKind,
    pub(super) number: String,
    pub(super) holder: Holder,
    pub(super) issued: NaiveDate,
    /// Last day; `None` is 长期.
    pub(super) until: Option<NaiveDate>,
    pub(super) status: &'static str,
    /// Night it appeared or last changed; `None` is night 0.
    pub(super) changed: Option<u32>,
}

/// Who holds it, as indices of the city.
pub(super) enum Holder {
    Enterprise(u64),
    Person(u64),
}

impl Licence {
    /// 证照类型代码 of 21 characters.
    pub(super) fn type_code(&self) -> String {
        format!("{DEFINER}{:03}", self.kind.serial)
    }

    /// 电子证照标识 of version `version`.
    pub(super) fn cert_id(&self, serial: u64, version: u32) -> String {
        let serial = format!("{:03}{serial:09}", self.kind.serial);
        identifiers::cert_id(&self.type_code(), self.kind.issuer_code, &serial, version)
    }

    /// The same, first version, with the check character of the province's platform of 2020.
    pub(super) fn legacy_cert_id(&self, serial: u64) -> String {
        let serial = format!("{:03}{serial:09}", self.kind.serial);
        identifiers::legacy_cert_id(&self.type_code(), self.kind.issuer_code, &serial, 1)
    }
}

/// How many permits there are.
pub(super) fn permits(city: City) -> u64 {
    city.count(800, 6)
}

/// How many business licences there are as certificates.
pub(super) fn business_licences(city: City) -> u64 {
    city.count(700, 3)
}

/// Permit `index`, as it is on the city's night.
pub(super) fn permit(city: City, index: u64) -> Licence {
    let dice = city.dice;
    let enterprise = dice.below("permit holder", index, city.on(0).enterprises());
    let wanted = dice.pick("permit kind", index, city.trade(enterprise).permits);
    let kind = PERMITS.iter().find(|kind| kind.serial == wanted).unwrap_or(&PERMITS[0]);
    let born = city.born_on(index, 800, 6);
    let issued = city.day(born) - chrono::Days::new(if born == 0 { 5 + dice.below("issued", index, 1_000) } else { 1 });
    let revoked = city.nights_of("licence status", index, 120).find(|night| *night > born);
    let natural = kind.serial == 2 && dice.one_in("natural applicant", index, 3);
    Licence {
        kind,
        number: format!("{}{}{index:08}", kind.prefix, issued.format("%Y")),
        holder: if natural {
            Holder::Person(dice.below("applicant", index, city.on(0).persons()))
        } else {
            Holder::Enterprise(enterprise)
        },
        issued,
        until: Some(issued + chrono::Days::new(365 * kind.years)),
        status: match revoked {
            Some(_) => dice.pick("revoked how", index, &["注销", "暂扣", "吊销"]),
            None => "有效",
        },
        changed: revoked.or((born > 0).then_some(born)),
    }
}

/// Business licence `index`, held by enterprise `index`.
pub(super) fn business_licence(city: City, index: u64) -> Licence {
    let born = city.born_on(index, 700, 3);
    let enterprise = city.on(0).enterprise(index);
    Licence {
        kind: &BUSINESS_LICENCE,
        number: identifiers::registration_no(enterprise.district.code, 5_000_000 + index),
        holder: Holder::Enterprise(index),
        issued: enterprise.established,
        until: None,
        status: if enterprise.status == "注销" { "注销" } else { "有效" },
        changed: (born > 0).then_some(born),
    }
}

/// Name and number of a holder, and the code of the kind of number.
pub(super) fn holder(city: City, licence: &Licence) -> (String, String, &'static str) {
    match licence.holder {
        Holder::Enterprise(index) => {
            let enterprise = city.on(0).enterprise(index);
            (enterprise.name, enterprise.uscc, "001")
        }
        Holder::Person(index) => {
            let person = city.person(index);
            (person.name, person.id, "111")
        }
    }
}
