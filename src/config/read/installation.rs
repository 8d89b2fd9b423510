//! `huiliu.yaml`. Optional: an absent file reads as an empty one.

use std::path::{Path, PathBuf};

use chrono_tz::Tz;

use super::super::shape::{Key, Kind, Shape, Word};
use super::super::units::span;
use super::super::view::View;
use super::super::{
    AtRest, Broker, Installation, LogFormat, Password, Rules, Serve, SigningFiles, SigningKey, Stale, Timestamps,
    TokenUri, TrustFiles,
};
use super::{VERSION, number};

/// The table.
pub(in crate::config) const INSTALLATION: Shape = Shape {
    title: "部署 installation",
    about: "This installation: who signs, where state lies. Everything has a default.",
    keys: &[
        VERSION,
        Key::optional("issuer", "发布方 issuer", Kind::Text, "Who signs, as manifests say.")
            .or("汇流开发环境 huiliu development"),
        Key::optional(
            "name",
            "名称 name",
            Kind::Text,
            "Tells this installation from others; kept in the state directory when absent.",
        ),
        Key::optional("zone", "时区 zone", Kind::Zone, "Zone of schedules and civil dates.").or("Asia/Shanghai"),
        Key::optional("state_dir", "状态目录 state_dir", Kind::Address, "Directory of state.").or(".huiliu"),
        Key::optional(
            "store",
            "数据库 store",
            Kind::Named,
            "Register database, postgres://… or sqlite:PATH; huiliu.db in the state directory when absent.",
        ),
        Key::optional("spool", "出口目录 spool", Kind::Address, "Spool; spool in the state directory when absent."),
        Key::optional(
            "signing",
            "签名 signing",
            Kind::Map(&SIGNING),
            "Signing key and certificates; when absent the key chosen with `huiliu key rotate`, or else a development CA's.",
        ),
        Key::optional(
            "key_password",
            "私钥口令 key_password",
            Kind::Secret(&[]),
            "Of encrypted private keys: env:NAME or file:PATH.",
        ),
        Key::optional(
            "token_pin",
            "令牌口令 token_pin",
            Kind::Secret(&[]),
            "PIN of PKCS#11 tokens: env:NAME or file:PATH.",
        ),
        Key::optional(
            "at_rest",
            "落盘加密 at_rest",
            Kind::Map(&AT_REST),
            "How fields of level 3 and 4, source keys and quarantined rows are encrypted in the store; plain when absent.",
        ),
        Key::optional(
            "broker",
            "消息队列 broker",
            Kind::Named,
            "RabbitMQ, amqps://user:password@host:port/vhost; best as env: or file: reference.",
        ),
        Key::optional(
            "broker_ca",
            "消息队列证书 broker_ca",
            Kind::Address,
            "PEM file with certificate authorities to believe beside the public ones.",
        ),
        Key::optional(
            "broker_api",
            "消息队列管理接口 broker_api",
            Kind::Named,
            "RabbitMQ's management API; port 15672 of the broker's host (15671 with TLS) when absent.",
        ),
        Key::optional(
            "receipt_ca",
            "回执证书 receipt_ca",
            Kind::Address,
            "PEM file with certificate authorities under which subscribers sign receipts.",
        ),
        Key::optional("trust", "信任 trust", Kind::Map(&TRUST), "Whose certificates are believed for what."),
        Key::optional(
            "timestamps",
            "时间戳 timestamps",
            Kind::Map(&TIMESTAMPS),
            "The authority that stamps the time of every batch; none when absent. Needs trust.timestamps.",
        ),
        Key::optional("serve", "守护进程 serve", Kind::Map(&SERVE), "How `huiliu serve` works."),
        Key::optional(
            "retention",
            "保存期限 retention",
            Kind::Span,
            "How long history and change logs stay, by whole months, on PostgreSQL: 1825d; for ever when absent.",
        ),
        Key::optional("log", "日志 log", Kind::Word(LOGS), "How the daemon writes its log.").or("text"),
        Key::optional("otlp", "遥测 otlp", Kind::Named, "Where traces go by OTLP: http://HOST:4318; none when absent."),
        Key::later("smtp", "邮件 smtp"),
        Key::later("console", "控制台 console"),
    ],
};

const AT_REST: Shape = Shape {
    title: "落盘加密 at_rest",
    about: "Encryption of what is stored.",
    keys: &[Key::required(
        "master_key",
        "主密钥 master_key",
        Kind::Secret(&["pkcs11:"]),
        "Wraps the store's data keys, made with `huiliu key rest new`: env:NAME, file:PATH, or a key on a token (pkcs11:…).",
    )],
};

const SERVE: Shape = Shape {
    title: "守护进程 serve",
    about: "The daemon: where it answers, and how long things may take.",
    keys: &[
        Key::optional("listen", "监听 listen", Kind::Text, "Address of /healthz, /readyz and /metrics.")
            .or("127.0.0.1:7070"),
        Key::optional("lease", "租约 lease", Kind::Span, "How long after a daemon's death others take over.").or("15s"),
        Key::optional("stop_within", "停机时限 stop_within", Kind::Span, "How long work may take to stop.").or("30s"),
        Key::optional("workers", "并行 workers", Kind::Integer(1, 64), "Jobs at a time; SQLite takes one.").or("2"),
    ],
};

const TIMESTAMPS: Shape = Shape {
    title: "时间戳 timestamps",
    about: "A time-stamping authority (RFC 3161). One that is down stops no delivery: its tokens are got later.",
    keys: &[
        Key::required(
            "url",
            "地址 url",
            Kind::Named,
            "http(s)://…; with a user and password best as env: or file: reference.",
        ),
        Key::optional(
            "within",
            "时限 within",
            Kind::Span,
            "How long a batch may be without its token before the alarm.",
        )
        .or("1d"),
        Key::optional("patience", "等待 patience", Kind::Span, "How long one answer may take.").or("10s"),
        Key::optional(
            "policy",
            "策略 policy",
            Kind::Text,
            "Object identifier of the policy that tokens must be under; the authority's own when absent.",
        ),
    ],
};

const LOGS: &[Word] =
    &[Word::now("text", "文本 For people."), Word::now("json", "JSON One object a line, for programs.")];

const TRUST: Shape = Shape {
    title: "信任 trust",
    about: "Certificate authorities by purpose, revocation lists, and what is demanded of every certificate.",
    keys: &[
        Key::optional(
            "own",
            "本方签名 own",
            Kind::Address,
            "PEM file: authorities under which this installation signs.",
        ),
        Key::optional(
            "departments",
            "部门签名 departments",
            Kind::Address,
            "PEM file: authorities under which departments sign files, besides being named by their connector.",
        ),
        Key::optional(
            "subscribers",
            "订阅方加密 subscribers",
            Kind::Address,
            "PEM file: authorities of the certificates that feeds are encrypted to.",
        ),
        Key::optional(
            "timestamps",
            "时间戳 timestamps",
            Kind::Address,
            "PEM file: authorities under which the time of batches is stamped.",
        ),
        Key::later("clients", "接口调用 clients"),
        Key::optional(
            "crls",
            "撤销列表 crls",
            Kind::List(&Kind::Address),
            "Revocation lists, PEM or DER: files, or http://… fetched every hour. Every authority needs one then.",
        ),
        Key::optional(
            "crl_max_age",
            "列表期限 crl_max_age",
            Kind::Span,
            "How old a list may be; its own word when absent.",
        ),
        Key::optional("stale_crl", "过期列表 stale_crl", Kind::Word(STALE), "About a stale or missing list.")
            .or("refuse"),
        Key::optional("algorithms", "算法 algorithms", Kind::Word(ALGORITHMS), "Which algorithms are allowed.")
            .or("any"),
        Key::optional("rsa_bits", "RSA 位数 rsa_bits", Kind::Integer(2048, 8192), "The least for RSA keys.").or("2048"),
    ],
};

const STALE: &[Word] = &[
    Word::now("refuse", "拒绝 The certificate is refused."),
    Word::now("alarm", "告警 The certificate is accepted, and somebody is told."),
];

const ALGORITHMS: &[Word] =
    &[Word::now("any", "不限 P-256, RSA and SM2."), Word::now("national", "国密 Only SM2 with SM3.")];

const SIGNING: Shape = Shape {
    title: "签名 signing",
    about: "Signing key and certificates.",
    keys: &[
        Key::required(
            "key",
            "私钥 key",
            Kind::Address,
            "PKCS#8 PEM file; P-256, RSA or SM2 (国密). Or pkcs11:token=…;object=…?module-path=… (RFC 7512).",
        ),
        Key::required("chain", "证书链 chain", Kind::Address, "PEM file, leaf certificate first."),
    ],
};

/// Reads the installation. Relative paths start at the workspace and come out absolute, so that joining them to it
/// again, or changing the current directory, changes nothing.
pub(in crate::config) fn read(dir: &Path, view: View<'_>) -> Installation {
    let absolute = std::path::absolute(dir);
    let dir = absolute.as_deref().unwrap_or(dir); // without a current directory nothing relative can be opened anyway
    let path = |view: View<'_>| view.resolved().map(|path| dir.join(path));
    let state_dir = path(view.get("state_dir")).unwrap_or_else(|| dir.join(".huiliu"));
    let signing = view.get("signing");
    Installation {
        issuer: view.get("issuer").text(),
        name: view.get("name").is_written().then(|| view.get("name").text()),
        zone: view.get("zone").parsed(|text| text.parse().ok()).unwrap_or(Tz::Asia__Shanghai),
        store: store(dir, &state_dir, view.get("store").resolved()),
        spool: path(view.get("spool")).unwrap_or_else(|| state_dir.join("spool")),
        signing: signing.is_map().then(|| SigningFiles {
            key: signing_key(signing.get("key").resolved().unwrap_or_default(), dir),
            chain: path(signing.get("chain")).unwrap_or_default(),
        }),
        token_pin: view.get("token_pin").resolved().map(Password::new),
        key_password: view.get("key_password").resolved().map(Password::new),
        at_rest: view.get("at_rest").is_map().then(|| AtRest {
            master_key: Password::new(view.get("at_rest").get("master_key").resolved().unwrap_or_default()),
        }),
        broker: view.get("broker").resolved().map(|url| Broker {
            url,
            ca: path(view.get("broker_ca")),
            api: view.get("broker_api").resolved(),
            receipt_ca: path(view.get("receipt_ca")),
        }),
        timestamps: timestamps(view.get("timestamps")),
        trust: trust(dir, view.get("trust")),
        serve: serve(view.get("serve")),
        retention: view.get("retention").parsed(|text| span::parse(text).ok()),
        log: if view.get("log").raw() == Some("json") { LogFormat::Json } else { LogFormat::Text },
        otlp: view.get("otlp").resolved(),
        state_dir,
    }
}

/// A URI that does not read stays a path, and the check says what is wrong with it.
fn signing_key(text: String, dir: &Path) -> SigningKey {
    TokenUri::parse(&text).map_or_else(|_| SigningKey::File(dir.join(text)), SigningKey::Token)
}

fn timestamps(view: View<'_>) -> Option<Timestamps> {
    let span = |name| view.get(name).parsed(|text| span::parse(text).ok()).unwrap_or_default();
    view.is_map().then(|| Timestamps {
        url: view.get("url").resolved().unwrap_or_default(),
        within: span("within"),
        patience: span("patience"),
        policy: view.get("policy").is_written().then(|| view.get("policy").text()),
    })
}

fn trust(dir: &Path, view: View<'_>) -> TrustFiles {
    let path = |name| view.get(name).resolved().map(|path| dir.join(path));
    let source = |source: String| {
        let address = ["http://", "https://"].iter().any(|scheme| source.starts_with(scheme));
        if address { source } else { dir.join(source).display().to_string() }
    };
    TrustFiles {
        own: path("own"),
        departments: path("departments"),
        subscribers: path("subscribers"),
        timestamps: path("timestamps"),
        crls: view.get("crls").items().iter().filter_map(|item| item.resolved().map(source)).collect(),
        rules: Rules {
            national_only: view.get("algorithms").raw() == Some("national"),
            rsa_bits: if view.is_map() { number(view.get("rsa_bits")) } else { 2048 },
            stale: if view.get("stale_crl").raw() == Some("alarm") { Stale::Alarm } else { Stale::Refuse },
            crl_max_age: view.get("crl_max_age").parsed(|text| span::parse(text).ok()),
        },
    }
}

fn serve(view: View<'_>) -> Serve {
    let span = |name| view.get(name).parsed(|text| span::parse(text).ok()).unwrap_or_default();
    Serve {
        listen: view.get("listen").text(),
        lease: span("lease"),
        stop_within: span("stop_within"),
        workers: number(view.get("workers")),
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

#[cfg(test)]
mod tests {
    use super::super::super::sample::{load_and_check, put, summary, write};

    #[test]
    fn paths_are_absolute_and_start_at_the_workspace() {
        let dir = write();
        let text = "version: 1\nissuer: 市\nstate_dir: state\nspool: env:SET\nzone: Asia/Urumqi\n";
        put(dir.path(), "huiliu.yaml", text.as_bytes());
        let (workspace, problems) = load_and_check(dir.path());
        assert_eq!(problems, []);
        let installation = workspace.installation;
        assert_eq!(installation.state_dir, dir.path().join("state"));
        assert_eq!(installation.spool, dir.path().join("out"));
        assert_eq!(installation.store, format!("sqlite:{}", dir.path().join("state/huiliu.db").display()));
        assert_eq!((installation.issuer.as_str(), installation.zone.name()), ("市", "Asia/Urumqi"));
        assert_eq!(super::store("/w".as_ref(), "/s".as_ref(), Some("sqlite:a.db".to_owned())), "sqlite:/w/a.db");
        assert_eq!(super::store("/w".as_ref(), "/s".as_ref(), Some("sqlite:///a.db".to_owned())), "sqlite:/a.db");
    }

    #[test]
    fn a_relative_workspace_has_absolute_paths_too() {
        let (workspace, _) = load_and_check("nowhere".as_ref());
        assert!(workspace.installation.state_dir.is_absolute());
        assert!(workspace.installation.state_dir.ends_with("nowhere/.huiliu"));
    }

    #[test]
    fn what_later_versions_bring_is_refused() {
        let dir = write();
        let text = "version: 1\nsmtp: x\nstore: env:UNSET\nsigning: { key: a.pem }\nzone: 北京\n";
        put(dir.path(), "huiliu.yaml", text.as_bytes());
        let expect = ["HL0110 2:1", "HL0118 3:8 warning", "HL0107 4:10", "HL0108 5:7"];
        assert_eq!(summary(&load_and_check(dir.path()).1), expect);
    }
}
