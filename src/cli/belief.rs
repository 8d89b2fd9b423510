//! Whom a subscriber or an auditor believes, and the keys with which they read: arguments that several verbs share.

use std::path::{Path, PathBuf};

use anyhow::Context as _;

use crate::batch::Reader;
use crate::config::{Rules, Stale};
use crate::crypto::{Opener, Signer, Trust};
use crate::error::Problem;
use crate::pki;

/// Whom to believe, and with which keys to read.
#[derive(Debug, clap::Args)]
pub struct Belief {
    /// CA certificate(s) of the issuing office, PEM
    #[arg(long, value_name = "FILE", required = true)]
    pub trust: Option<PathBuf>, // never absent, but where a verb below takes the place of this one's arguments
    /// Revocation list 撤销列表: a file (PEM, DER) or http://…; may be given again. Every authority needs one then
    #[arg(long, value_name = "CRL")]
    pub crl: Vec<String>,
    /// About a revocation list that is stale or missing: refuse, or alarm (accept, and say so)
    #[arg(long, value_name = "WORD", default_value = "refuse", value_parser = ["refuse", "alarm"])]
    pub stale_crl: String,
    /// Believe nothing but SM2 with SM3 只认国密
    #[arg(long)]
    pub national_only: bool,
    /// Open what is encrypted to this certificate, with its key, PEM; may be given again 解密
    #[arg(long, value_name = "KEY,CERTIFICATE")]
    pub decrypt: Vec<String>,
    /// Password of encrypted keys, best from the environment
    #[arg(long, value_name = "PASSWORD", env = "HUILIU_KEY_PASSWORD", hide_env_values = true)]
    pub key_password: Option<String>,
}

impl Belief {
    /// Reads all of it.
    pub(super) async fn reader(&self) -> anyhow::Result<Reader> {
        let keys = self.decrypt.iter().map(|files| self.opener(files)).collect::<anyhow::Result<_>>()?;
        let path = self.trust.as_deref().unwrap_or(Path::new(""));
        Ok(Reader { trust: self.trust_in(path).await?, keys })
    }

    /// Belief in the authorities of this file, by the same rules and lists.
    pub(super) async fn trust_in(&self, path: &Path) -> anyhow::Result<Trust> {
        let pem = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        let trust = Trust::from_pem(&pem).map_err(|error| Problem::from(&error).detail(path.display().to_string()))?;
        let stale = if self.stale_crl == "alarm" { Stale::Alarm } else { Stale::Refuse };
        let rules = Rules { national_only: self.national_only, stale, ..Rules::default() };
        let crls = pki::lists(&self.crl).await.map_err(|error| Problem::from(&error))?;
        Ok(trust.with_rules(rules).with_crls(crls))
    }

    fn opener(&self, files: &str) -> anyhow::Result<Opener> {
        let (key, certificate) = two_files(files, "--decrypt")?;
        let opener = Opener::load(key, certificate, self.key_password.as_deref());
        Ok(opener.map_err(|error| Problem::from(&error).detail(files.to_owned()))?)
    }
}

/// The key and chain that `option` names, to sign with.
pub(super) fn signer(files: &str, option: &str, password: Option<&str>) -> anyhow::Result<Signer> {
    let (key, chain) = two_files(files, option)?;
    Ok(Signer::load(key, chain, password).map_err(|error| Problem::from(&error).detail(files.to_owned()))?)
}

/// `KEY,CERTIFICATE` as two paths.
fn two_files<'f>(files: &'f str, option: &str) -> anyhow::Result<(&'f Path, &'f Path)> {
    let Some((key, certificate)) = files.split_once(',') else {
        let problem = Problem::error("HL0747", format!("{option} names two files"));
        return Err(problem.hint(format!("give {option} key.pem,certificate.pem")).into());
    };
    Ok((Path::new(key), Path::new(certificate)))
}
