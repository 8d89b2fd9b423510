//! `connectors/<system>.yaml`.

use super::super::shape::{Key, Kind, Naming, Shape, Variant, Word};
use super::super::units::{Rate, span};
use super::super::view::View;
use super::super::{At, Auth, Cdc, Connector, Database, Files, Hidden, HmacDigest, Http, Inbox, Settle, SourceKind};
use super::{VERSION, dataset};

/// The table.
pub(in crate::config) const CONNECTOR: Shape = Shape {
    title: "接入 connector",
    about: "How to reach one department's system, and the contract of each of its datasets.",
    keys: &[
        VERSION,
        Key::required("department", "部门 department", Kind::Text, "The department whose system this is."),
        Key::optional("title", "名称 title", Kind::Text, "What people call the system."),
        Key::optional("contact", "联系人 contact", Kind::Text, "Whom to call when a file does not come."),
        Key::required("source", "来源 source", Kind::Tagged("kind", SOURCES), "How to reach the system."),
        Key::required(
            "datasets",
            "数据集 datasets",
            Kind::Each(Naming::Plain, &Kind::Map(&dataset::DATASET)),
            "Its tables, file families or endpoints, by name.",
        ),
    ],
};

const SOURCES: &[Variant] = &[
    Variant { word: Word::now("files", "文件目录 A directory of files."), shape: &FILES },
    Variant { word: Word::now("database", "数据库 Tables of a database."), shape: &DATABASE },
    Variant { word: Word::now("http", "接口服务 Endpoints of a service."), shape: &HTTP },
    Variant { word: Word::now("amqp", "收件队列 Queues into which the department publishes."), shape: &AMQP },
    Variant { word: Word::now("cdc", "变更订阅 The log of a PostgreSQL database."), shape: &CDC },
];

const FILES: Shape = Shape {
    title: "文件来源 files",
    about: "A directory into which the department writes its files.",
    keys: &[
        Key::required(
            "root",
            "根目录 root",
            Kind::Address,
            "A directory relative to the workspace, an absolute one, a URL (file sftp ftp ftps s3 webdav webdavs), or \
             env:NAME; without user and password.",
        ),
        Key::optional(
            "user",
            "用户 user",
            Kind::Named,
            "Who we are there, or the access key of S3: env:NAME or file:PATH.",
        ),
        Key::optional(
            "password",
            "口令 password",
            Kind::Secret(&[]),
            "Our password there, or the secret key of S3: env:NAME or file:PATH.",
        ),
        Key::optional("key", "密钥 key", Kind::Secret(&[]), "Our private key (SFTP), without a password: file:PATH."),
        Key::optional(
            "host_key",
            "主机公钥 host_key",
            Kind::Text,
            "The SFTP server's own key, ssh-ed25519 AAAA… or SHA256:…; any other is refused.",
        ),
        Key::optional("ca", "根证书 ca", Kind::Address, "PEM file that the server's certificate must follow from."),
        Key::optional("endpoint", "服务地址 endpoint", Kind::Address, "Address of an S3 service: https://…"),
        Key::optional("region", "区域 region", Kind::Text, "Region of an S3 service."),
        Key::optional(
            "settle",
            "处理后 settle",
            Kind::Map(&SETTLE),
            "When a file is finished, and where it goes then.",
        ),
        Key::optional(
            "certificate",
            "部门证书 certificate",
            Kind::Either(&[Kind::Text, Kind::List(&Kind::Text)]),
            "PEM files of the department's own certificates: signatures by others do not count.",
        ),
    ],
};

const SETTLE: Shape = Shape {
    title: "处理后 settle",
    about: "When a file is finished, and where it goes afterwards.",
    keys: &[
        Key::optional("quiet", "静默时间 quiet", Kind::Span, "A file written less than this ago is left alone.")
            .or("2s"),
        Key::optional("archive", "归档目录 archive", Kind::Text, "Directory below the root for files that were taken."),
        Key::optional("reject", "拒收目录 reject", Kind::Text, "Directory below the root for files that were refused."),
    ],
};

const DATABASE: Shape = Shape {
    title: "数据库来源 database",
    about: "The department's (front-end) database; it is read in small pages, in read-only sessions.",
    keys: &[
        Key::required(
            "url",
            "地址 url",
            Kind::Address,
            "postgres://host/db, mysql://host/db, sqlite:file.db, odbc:CONNECTION-STRING, or env:NAME; without user and \
             password.",
        ),
        Key::optional("user", "用户 user", Kind::Named, "Who we are there: env:NAME or file:PATH."),
        Key::optional("password", "口令 password", Kind::Secret(&[]), "Our password there: env:NAME or file:PATH."),
        Key::optional("ca", "根证书 ca", Kind::Address, "PEM file that the server's certificate must follow from."),
        Key::optional("timeout", "超时 timeout", Kind::Span, "A statement that takes longer is given up.").or("60s"),
        Key::optional("rate", "限速 rate", Kind::Rate, "Rows a second at most; as fast as it goes when absent."),
    ],
};

const CDC: Shape = Shape {
    title: "变更订阅来源 cdc",
    about: "The department's PostgreSQL database: its tables are copied once, then their changes follow from its log.",
    keys: &[
        Key::required("url", "地址 url", Kind::Address, "postgres://host/db, or env:NAME; without user and password."),
        Key::optional("user", "用户 user", Kind::Named, "Who we are there, with REPLICATION: env:NAME or file:PATH."),
        Key::optional("password", "口令 password", Kind::Secret(&[]), "Our password there: env:NAME or file:PATH."),
        Key::optional("ca", "根证书 ca", Kind::Address, "PEM file that the server's certificate must follow from."),
        Key::optional("timeout", "超时 timeout", Kind::Span, "A statement that takes longer is given up.").or("60s"),
        Key::optional("rate", "限速 rate", Kind::Rate, "Rows a second at most while a table is copied."),
        Key::optional(
            "slot",
            "复制槽 slot",
            Kind::Text,
            "What the names of our slots begin with: a-z, 0-9 and _. Two installations must not share one.",
        )
        .or("huiliu"),
        Key::optional(
            "publication",
            "发布 publication",
            Kind::Text,
            "A publication that the department made; one of our own for each table when absent.",
        ),
    ],
};

const HTTP: Shape = Shape {
    title: "接口来源 http",
    about: "The department's service: REST with JSON, SOAP and other XML.",
    keys: &[
        Key::required("base", "地址 base", Kind::Address, "https://host/path that every path is below, or env:NAME."),
        Key::optional("ca", "根证书 ca", Kind::Address, "PEM file that the service's certificate must follow from."),
        Key::optional("timeout", "超时 timeout", Kind::Span, "A call that takes longer is given up.").or("30s"),
        Key::optional("auth", "身份 auth", Kind::Tagged("kind", AUTHS), "Who we are there."),
    ],
};

const AMQP: Shape = Shape {
    title: "队列来源 amqp",
    about: "RabbitMQ queues into which the department publishes records or small files.",
    keys: &[
        Key::required("url", "地址 url", Kind::Address, "amqps://host/vhost, or env:NAME; without user and password."),
        Key::optional("user", "用户 user", Kind::Named, "Who we are there: env:NAME or file:PATH."),
        Key::optional("password", "口令 password", Kind::Secret(&[]), "Our password there: env:NAME or file:PATH."),
        Key::optional("ca", "根证书 ca", Kind::Address, "PEM file of authorities believed beside the public ones."),
    ],
};

const AUTHS: &[Variant] = &[
    Variant { word: Word::now("api_key", "A key in a header."), shape: &API_KEY },
    Variant { word: Word::now("basic", "User and password, RFC 7617."), shape: &BASIC },
    Variant { word: Word::now("oauth2", "Client credentials, RFC 6749 4.4."), shape: &OAUTH2 },
    Variant { word: Word::now("hmac", "Every request is signed."), shape: &HMAC },
];

const API_KEY: Shape = Shape {
    title: "api_key",
    about: "A key in a header.",
    keys: &[
        Key::optional("header", "请求头 header", Kind::Text, "Header that holds the key.").or("X-Api-Key"),
        Key::required("value", "密钥 value", Kind::Secret(&[]), "The key: env:NAME or file:PATH."),
    ],
};

const BASIC: Shape = Shape {
    title: "basic",
    about: "User and password, RFC 7617.",
    keys: &[
        Key::required("user", "用户 user", Kind::Named, "User: env:NAME or file:PATH."),
        Key::required("password", "口令 password", Kind::Secret(&[]), "Password: env:NAME or file:PATH."),
    ],
};

const OAUTH2: Shape = Shape {
    title: "oauth2",
    about: "Client credentials, RFC 6749 4.4.",
    keys: &[
        Key::required("token_url", "令牌地址 token_url", Kind::Address, "Where tokens are given."),
        Key::required("client_id", "客户端 client_id", Kind::Named, "Client: env:NAME or file:PATH."),
        Key::required("client_secret", "密钥 client_secret", Kind::Secret(&[]), "Its secret: env:NAME or file:PATH."),
        Key::optional("scope", "范围 scope", Kind::Text, "What is asked for."),
    ],
};

const HMAC: Shape = Shape {
    title: "hmac",
    about: "Headers X-App-Id, X-Timestamp (ms), X-Nonce and X-Signature (hex) on every request.",
    keys: &[
        Key::required("app_id", "应用 app_id", Kind::Named, "Application: text, env:NAME or file:PATH."),
        Key::required("secret", "密钥 secret", Kind::Secret(&[]), "Shared secret: env:NAME or file:PATH."),
        Key::optional("digest", "算法 digest", Kind::Word(DIGESTS), "Digest of the signature.").or("sm3"),
        Key::optional("template", "签名串 template", Kind::Text, "What is signed.")
            .or("{app_id}{timestamp}{nonce}{method}{target}{body}"),
    ],
};

const DIGESTS: &[Word] = &[Word::now("sm3", "GB/T 32905."), Word::now("sha256", "FIPS 180-4.")];

fn auth(view: View<'_>) -> Auth {
    let text = |name: &str| view.get(name).resolved().unwrap_or_default();
    let hidden = |name: &str| Hidden(text(name));
    match view.tag() {
        Some("api_key") => Auth::ApiKey { header: view.get("header").text(), value: hidden("value") },
        Some("basic") => Auth::Basic { user: text("user"), password: hidden("password") },
        Some("oauth2") => Auth::OAuth2 {
            token_url: text("token_url"),
            client_id: text("client_id"),
            client_secret: hidden("client_secret"),
            scope: view.get("scope").maybe(),
        },
        Some("hmac") => Auth::Hmac {
            app_id: text("app_id"),
            secret: hidden("secret"),
            digest: if view.get("digest").raw() == Some("sha256") { HmacDigest::Sha256 } else { HmacDigest::Sm3 },
            template: view.get("template").text(),
        },
        _ => Auth::None,
    }
}

/// Reads a whole connector.
pub(in crate::config) fn read(system: &str, view: View<'_>) -> Connector {
    let source = source(view.get("source"));
    let datasets = view.get("datasets").each().into_iter();
    Connector {
        system: system.to_owned(),
        department: view.get("department").text(),
        contact: view.get("contact").maybe(),
        datasets: datasets.map(|(name, view)| (name.value.clone(), dataset::read(&source, name, view))).collect(),
        source,
    }
}

fn resolved(view: View<'_>) -> At<String> {
    At { value: view.resolved().unwrap_or_default(), place: view.place() }
}

fn database(view: View<'_>) -> Database {
    Database {
        url: resolved(view.get("url")),
        user: view.get("user").resolved(),
        password: view.get("password").resolved().map(Hidden),
        ca: view.get("ca").resolved(),
        timeout: view.get("timeout").parsed(|text| span::parse(text).ok()).unwrap_or_default(),
        rate: view.get("rate").parsed(|text| Rate::parse(text).ok()),
    }
}

fn source(view: View<'_>) -> SourceKind {
    let resolved = |name: &str| resolved(view.get(name));
    match view.tag() {
        Some("database") => SourceKind::Database(database(view)),
        Some("cdc") => SourceKind::Cdc(Cdc {
            database: database(view),
            slot: view.get("slot").text(),
            publication: view.get("publication").maybe(),
        }),
        Some("amqp") => SourceKind::Amqp(Inbox {
            url: resolved("url"),
            user: view.get("user").resolved(),
            password: view.get("password").resolved().map(Hidden),
            ca: view.get("ca").resolved(),
        }),
        Some("http") => SourceKind::Http(Http {
            base: resolved("base"),
            ca: view.get("ca").resolved(),
            timeout: view.get("timeout").parsed(|text| span::parse(text).ok()).unwrap_or_default(),
            auth: auth(view.get("auth")),
        }),
        _ => {
            let (settle, certificate) = (view.get("settle"), view.get("certificate"));
            let certificates = match certificate.texts() {
                several if several.is_empty() => certificate.maybe_at().into_iter().collect(),
                several => several,
            };
            SourceKind::Files(Files {
                root: resolved("root"),
                user: view.get("user").resolved(),
                password: view.get("password").resolved().map(Hidden),
                key: view.get("key").resolved().map(Hidden),
                host_key: view.get("host_key").maybe_at(),
                ca: view.get("ca").resolved(),
                endpoint: view.get("endpoint").resolved(),
                region: view.get("region").maybe(),
                settle: Settle {
                    quiet: settle.get("quiet").parsed(|text| span::parse(text).ok()).unwrap_or_default(),
                    archive: settle.get("archive").maybe(),
                    reject: settle.get("reject").maybe(),
                },
                certificates,
            })
        }
    }
}
