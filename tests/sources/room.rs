//! A directory of a server that one test has for itself, and a workspace that takes files from it.

use std::path::{Path, PathBuf};

use huiliu::source::Source;

use crate::support::services::{service, unique};
use crate::support::{Small, secret};

/// See the module.
pub struct Room {
    pub small: Small,
    kind: Kind,
    /// As in `root:`.
    root: String,
    /// Keys of `source:` beside the root.
    keys: String,
    /// Where the files lie, or the address that takes them.
    place: Place,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Local,
    Sftp,
    Ftp,
    Webdav,
    S3,
}

#[derive(Clone)]
enum Place {
    Directory(PathBuf),
    Bucket(String),
}

impl Room {
    /// A directory of this machine.
    pub async fn local() -> Self {
        let small = Small::new();
        let place = Place::Directory(small.path().join("out/gs"));
        Self::new(small, Kind::Local, "out/gs".to_owned(), String::new(), place)
    }

    /// OpenSSH.
    pub async fn sftp() -> Self {
        let user = std::env::var("USER").unwrap_or_else(|_| "root".to_owned());
        let (keys, host_key) = (service("SFTP_KEYS"), service("SFTP_HOST_KEY"));
        let keys = format!("user: {user}, key: \"file:{keys}/user_key\", host_key: \"{host_key}\", ");
        Self::on_server(Kind::Sftp, &service("SFTP"), "sftp", keys)
    }

    /// FTP in the clear.
    pub async fn ftp() -> Self {
        Self::on_server(Kind::Ftp, &service("FTP"), "ftp", format!("user: huiliu, password: {}, ", secret("huiliu")))
    }

    /// FTP over TLS.
    pub async fn ftps() -> Self {
        let keys = format!("user: huiliu, password: {}, ca: \"{}\", ", secret("huiliu"), service("CA"));
        let url = service("FTP").replace("ftp://127.0.0.1", "ftps://localhost");
        Self::on_server(Kind::Ftp, &url, "ftp", keys)
    }

    /// WebDAV.
    pub async fn webdav() -> Self {
        Self::on_server(
            Kind::Webdav,
            &service("WEBDAV"),
            "webdav",
            format!("user: huiliu, password: {}, ", secret("huiliu")),
        )
    }

    /// S3.
    pub async fn s3() -> Self {
        let (endpoint, prefix) = (service("S3"), unique("t"));
        let keys = format!("user: S3RVER, password: {}, endpoint: \"{endpoint}\", ", secret("S3RVER"));
        let place = Place::Bucket(format!("{endpoint}/huiliu/{prefix}"));
        Self::new(Small::new(), Kind::S3, format!("s3://huiliu/{prefix}"), keys, place)
    }

    fn on_server(kind: Kind, url: &str, files: &str, keys: String) -> Self {
        let name = unique("t");
        let directory = Path::new(&service("FILES")).join(files).join(&name);
        std::fs::create_dir_all(&directory).unwrap();
        Self::new(Small::new(), kind, format!("{url}/{name}"), keys, Place::Directory(directory))
    }

    fn new(small: Small, kind: Kind, root: String, keys: String, place: Place) -> Self {
        let room = Self { small, kind, root, keys, place };
        room.connect("settle: { quiet: 1s }, ");
        room
    }

    /// Another workspace over the same files, reached at another address.
    pub async fn beside(other: &Self, address: &str) -> Self {
        let (server, at) = (other.server().unwrap(), address);
        let swap = |text: &str| text.replace(&server, at).replace(&server.replace("127.0.0.1", "localhost"), at);
        Self::new(Small::new(), other.kind, swap(&other.root), swap(&other.keys), other.place.clone())
    }

    /// Writes the connector with these further keys.
    pub fn connect(&self, more: &str) {
        self.connect_to(&format!("{}{more}", self.keys));
    }

    /// Writes the connector with these keys only.
    pub fn connect_to(&self, keys: &str) {
        let text = std::fs::read_to_string(self.small.path().join("connectors/gs.yaml")).unwrap();
        let rest: Vec<&str> = text.lines().filter(|line| !line.starts_with("source:")).collect();
        let source = format!("source: {{ kind: files, {keys}root: \"{}\" }}", self.root);
        let (version, rest) = rest.split_first().unwrap();
        self.small.write("connectors/gs.yaml", format!("{version}\n{source}\n{}\n", rest.join("\n")));
    }

    /// The keys of the connector's source.
    pub fn keys(&self) -> &str {
        &self.keys
    }

    /// Whether a directory can be missing: objects have none.
    pub fn has_directories(&self) -> bool {
        self.kind != Kind::S3
    }

    /// Host and port behind which everything goes over one address; FTP opens others.
    pub fn server(&self) -> Option<String> {
        let url = match self.kind {
            Kind::Local | Kind::Ftp => return None,
            Kind::S3 => service("S3"),
            Kind::Sftp | Kind::Webdav => self.root.clone(),
        };
        let (_, rest) = url.split_once("://").unwrap();
        Some(rest.split('/').next().unwrap().to_owned())
    }

    /// Gives its workspace away.
    pub fn hand_over(&mut self) -> Small {
        std::mem::replace(&mut self.small, Small::empty())
    }

    /// The source as the workspace defines it.
    pub fn source(&self) -> Box<dyn Source> {
        super::source_of(self.small.path(), None)
    }

    /// The same with another path.
    pub fn source_of(&self, path: &str) -> Box<dyn Source> {
        super::source_of(self.small.path(), Some(path))
    }

    /// The same in a directory below.
    pub fn source_below(&self, directory: &str) -> Box<dyn Source> {
        self.source_of(&format!("{directory}/*.csv"))
    }

    /// Puts a file there, as the department would: long ago, so that it counts as finished.
    pub async fn put(&self, name: &str, bytes: &[u8]) {
        match &self.place {
            Place::Directory(directory) => {
                let path = directory.join(name);
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                std::fs::write(&path, bytes).unwrap();
                let past = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_700_000_000);
                std::fs::File::options().write(true).open(&path).unwrap().set_modified(past).unwrap();
            }
            Place::Bucket(url) => {
                let request = client().put(format!("{url}/{name}")).body(bytes.to_vec());
                assert!(request.send().await.unwrap().status().is_success());
            }
        }
    }

    /// Takes it away again.
    pub async fn remove(&self, name: &str) {
        match &self.place {
            Place::Directory(directory) => std::fs::remove_file(directory.join(name)).unwrap(),
            Place::Bucket(url) => {
                client().delete(format!("{url}/{name}")).send().await.unwrap();
            }
        }
    }

    /// An extract of `gs.qy`: rows of (代码, 名称, 注册号, 资本, 状态, 更新).
    pub async fn extract(&self, name: &str, rows: &[[&str; 6]]) {
        let rows: Vec<String> = rows.iter().map(|row| format!("{}\r\n", row.join(","))).collect();
        self.put(name, format!("代码,名称,注册号,资本,状态,更新\r\n{}", rows.concat()).as_bytes()).await;
    }
}

fn client() -> reqwest::Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy().build().unwrap()
}
