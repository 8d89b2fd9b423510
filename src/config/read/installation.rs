//! `huiliu.yaml`. Optional: an absent file reads as an empty one.

use std::path::{Path, PathBuf};

use chrono_tz::Tz;

use super::super::shape::{Key, Kind, Shape};
use super::super::view::View;
use super::super::{Installation, SigningFiles};
use super::VERSION;

/// The table.
pub(in crate::config) const INSTALLATION: Shape = Shape {
    title: "部署 installation",
    about: "This installation: who signs, where state lies. Everything has a default.",
    keys: &[
        VERSION,
        Key::optional("issuer", "发布方 issuer", Kind::Text, "Who signs, as manifests say.")
            .or("汇流开发环境 huiliu development"),
        Key::optional("zone", "时区 zone", Kind::Zone, "Zone of schedules and civil dates.").or("Asia/Shanghai"),
        Key::optional("state_dir", "状态目录 state_dir", Kind::Address, "Directory of state.").or(".huiliu"),
        Key::optional(
            "store",
            "数据库 store",
            Kind::Secret,
            "Register database, sqlite:PATH; huiliu.db in the state directory when absent.",
        ),
        Key::optional("spool", "出口目录 spool", Kind::Address, "Spool; spool in the state directory when absent."),
        Key::optional(
            "signing",
            "签名 signing",
            Kind::Map(&SIGNING),
            "Signing key and certificates; a development CA is made on first use when absent.",
        ),
        Key::later("broker", "消息队列 broker"),
        Key::later("retention", "保存期限 retention"),
        Key::later("smtp", "邮件 smtp"),
        Key::later("otlp", "遥测 otlp"),
        Key::later("console", "控制台 console"),
    ],
};

const SIGNING: Shape = Shape {
    title: "签名 signing",
    about: "Signing key and certificates.",
    keys: &[
        Key::required("key", "私钥 key", Kind::Address, "PKCS#8 PEM file."),
        Key::required("chain", "证书链 chain", Kind::Address, "PEM file, leaf certificate first."),
    ],
};

/// Reads the installation. Relative paths start at the workspace.
pub(in crate::config) fn read(dir: &Path, view: View<'_>) -> Installation {
    let path = |view: View<'_>| view.resolved().map(|path| dir.join(path));
    let state_dir = path(view.get("state_dir")).unwrap_or_else(|| dir.join(".huiliu"));
    let signing = view.get("signing");
    Installation {
        issuer: view.get("issuer").text(),
        zone: view.get("zone").parsed(|text| text.parse().ok()).unwrap_or(Tz::Asia__Shanghai),
        store: store(dir, &state_dir, view.get("store").resolved()),
        spool: path(view.get("spool")).unwrap_or_else(|| state_dir.join("spool")),
        signing: signing.is_map().then(|| SigningFiles {
            key: path(signing.get("key")).unwrap_or_default(),
            chain: path(signing.get("chain")).unwrap_or_default(),
        }),
        state_dir,
    }
}

/// `sqlite:` and a path from the workspace.
fn store(dir: &Path, state_dir: &Path, written: Option<String>) -> String {
    let path: PathBuf = match written.as_deref().map(|url| (url, url.strip_prefix("sqlite:"))) {
        None => state_dir.join("huiliu.db"),
        Some((_, Some(path))) => dir.join(path.trim_start_matches("//")),
        Some((other, None)) => return other.to_owned(),
    };
    format!("sqlite:{}", path.display())
}
