//! `huiliu key list` and `show`.

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use serde::Serialize;

use super::{Keys, problem};
use crate::cli::table::{local, rfc3339, shown, table, text};
use crate::cli::workspace::definitions;
use crate::cli::{Context, Exit};
use crate::config::Workspace;
use crate::crypto::{Certificate, DigestAlgorithm, Kept, hex, purposes, renewal_urgency};
use crate::engine;

#[derive(Debug, Serialize)]
struct Listed {
    key: String,
    /// Whether it signs now.
    signs: bool,
    encrypted: bool,
    /// Where it is, when it is on a PKCS#11 token.
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<String>,
    /// `None` while it waits for its certificate.
    certificate: Option<Shown>,
}

/// A certificate, for people and programs.
#[derive(Debug, Serialize)]
struct Shown {
    subject: String,
    issuer: String,
    serial: String,
    suite: String,
    from: String,
    until: String,
    days_left: i64,
    /// What it may be used for.
    purposes: Vec<String>,
    sha256: String,
    sm3: String,
}

impl Shown {
    fn of(certificate: &Certificate, now: DateTime<Utc>) -> Self {
        let digest = |algorithm: DigestAlgorithm| hex(&algorithm.digest(&[certificate.der()]));
        Self {
            subject: certificate.subject(),
            issuer: certificate.issuer(),
            serial: certificate.serial(),
            suite: certificate.suite().map_or_else(|error| error.to_string(), |suite| suite.word().to_owned()),
            from: rfc3339(certificate.not_before().timestamp_micros()),
            until: rfc3339(certificate.not_after().timestamp_micros()),
            days_left: certificate.not_after().signed_duration_since(now).num_days(),
            purposes: purposes(certificate).iter().map(ToString::to_string).collect(),
            sha256: digest(DigestAlgorithm::Sha256),
            sm3: digest(DigestAlgorithm::Sm3),
        }
    }
}

/// Every key that is kept.
pub(super) fn list(context: &Context) -> anyhow::Result<Exit> {
    let (workspace, _) = definitions(context)?;
    let (zone, now) = (workspace.installation.zone, context.clock.now());
    let kept = Keys::of(&workspace).ring.list().map_err(problem)?;
    if context.json {
        let listed = kept.iter().map(|kept| Listed {
            key: kept.name.clone(),
            signs: kept.current && workspace.installation.signing.is_none(),
            encrypted: kept.encrypted,
            token: kept.token.clone(),
            certificate: kept.chain.first().map(|certificate| Shown::of(certificate, now)),
        });
        context.print_json(&listed.collect::<Vec<_>>())?;
        return Ok(Exit::Done);
    }
    if kept.is_empty() {
        context.note("no key is kept; a development key signs unless signing: names another 无密钥")?;
        return Ok(Exit::Done);
    }
    let columns =
        [text("密钥 key"), text("算法 kind"), text("证书 certificate"), text("有效至 until"), text("状态 state")];
    context.print(&table(&columns, kept.iter().map(|kept| row(kept, &workspace, zone, now))))?;
    Ok(Exit::Done)
}

fn row(kept: &Kept, workspace: &Workspace, zone: Tz, now: DateTime<Utc>) -> [String; 5] {
    let certificate = kept.chain.first();
    let suite = certificate.and_then(|certificate| certificate.suite().ok());
    let signs = if kept.current && workspace.installation.signing.is_none() { "签名中 signs" } else { "" };
    let urgent = certificate.map_or("待签发 waits for its certificate", |certificate| urgency(certificate, now));
    let token = kept.token.as_ref().map_or("", |_| "在令牌中 on a token");
    let state: Vec<&str> = [signs, token, urgent].into_iter().filter(|state| !state.is_empty()).collect();
    [
        kept.name.clone(),
        suite.map_or("", |suite| suite.word()).to_owned(),
        certificate.map(Certificate::subject).unwrap_or_default(),
        certificate.map(|certificate| local(zone, certificate.not_after().timestamp_micros())).unwrap_or_default(),
        state.join("，"),
    ]
}

/// How soon a certificate must be renewed, in words.
fn urgency(certificate: &Certificate, now: DateTime<Utc>) -> &'static str {
    match renewal_urgency(certificate, now) {
        0 => "",
        _ if certificate.not_after() < now => "已过期 EXPIRED",
        1 => "60 天内到期 renew within 60 days",
        2 => "30 天内到期 renew within 30 days",
        _ => "10 天内到期 RENEW NOW",
    }
}

/// The certificates of one key.
pub(super) fn show(name: Option<&str>, pem: bool, context: &Context) -> anyhow::Result<Exit> {
    let (workspace, _) = definitions(context)?;
    let now = context.clock.now();
    let chain = match name {
        Some(name) => {
            let ring = Keys::of(&workspace).ring;
            let kept = ring.list().map_err(problem)?.into_iter().find(|kept| kept.name == name);
            let missing = || ring.key(name, None).map(|_| Vec::new()).map_err(problem);
            kept.map_or_else(missing, |kept| Ok(kept.chain))?
        }
        None => {
            let signer = engine::signer(&workspace, now).map_err(problem)?;
            [signer.certificate()].into_iter().chain(signer.between()).cloned().collect()
        }
    };
    if pem {
        let chain = chain.iter().map(Certificate::to_pem).collect::<Result<String, _>>();
        context.print(&chain.map_err(problem)?)?;
        return Ok(Exit::Done);
    }
    let certificates: Vec<Shown> = chain.iter().map(|certificate| Shown::of(certificate, now)).collect();
    if context.json {
        context.print_json(&certificates)?;
        return Ok(Exit::Done);
    }
    if certificates.is_empty() {
        context.note("this key waits for its certificate 待签发")?;
    }
    context.print(&certificates.iter().map(certificate_text).collect::<Vec<_>>().join("\n"))?;
    Ok(Exit::Done)
}

fn certificate_text(certificate: &Shown) -> String {
    let Shown { subject, issuer, serial, suite, from, until, days_left, purposes, sha256, sm3 } = certificate;
    let lines = [
        ("持有者 subject", shown(subject)),
        ("签发者 issuer", shown(issuer)),
        ("序列号 serial", serial.clone()),
        ("算法 kind", suite.clone()),
        ("有效期 valid", format!("{from} — {until} ({days_left} days)")),
        ("用途 purposes", if purposes.is_empty() { "无 none".to_owned() } else { purposes.join(", ") }),
        ("sha256", sha256.clone()),
        ("sm3", sm3.clone()),
    ];
    lines.iter().map(|(label, text)| format!("{label}  {text}\n")).collect()
}
