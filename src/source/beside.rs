//! What stands beside a file and is held against it: control files (控制文件) and detached signatures (签名).
//!
//! Decides: their names, and whether what they say holds. Must not know: where files lie. Guarantees: everything is
//! checked before the file's first row is handed over.

use std::collections::HashSet;
use std::sync::Arc;

use super::SourceError;
use crate::config::{Beside, Files, Format, Template, Workspace};
use crate::crypto::{Certificate, CryptoError, Signers, verify_pinned};
use crate::decode::{self, Input, Limits};
use crate::pki::{self, Roots};

/// Bytes of a control file or signature that are read.
pub(super) const MOST: u64 = 1 << 20;

/// The path of a file's signature.
pub(super) fn signature_path(path: &str) -> String {
    format!("{path}.p7s")
}

/// The path of a file's control file, where one is defined.
pub(super) fn control_path(beside: &Beside, path: &str) -> Option<String> {
    let control = beside.control.as_ref()?;
    let (directory, name) = path.rsplit_once('/').map_or(("", path), |(directory, name)| (directory, name));
    let stem = name.rsplit_once('.').map_or(name, |(stem, _)| stem);
    let own = control.file.replace("{name}", name).replace("{stem}", stem);
    Some(if directory.is_empty() { own } else { format!("{directory}/{own}") })
}

/// The files that a control file has a line for; none where its lines do not name any.
pub(super) fn named(beside: &Beside, control: &[u8]) -> Vec<String> {
    let Some(says) = beside.control.as_ref().and_then(|control| control.says.as_ref()) else { return Vec::new() };
    let text = String::from_utf8_lossy(control);
    let lines = text.trim_start_matches('\u{FEFF}').lines();
    lines.filter_map(|line| Some(says.match_all(line.trim())?.get("name")?.trim().to_owned())).collect()
}

/// Those of `names` that are control files or signatures of others.
pub(super) fn names<'n>(beside: &Beside, names: impl Iterator<Item = &'n str>) -> HashSet<String> {
    names
        .flat_map(|name| {
            let signature = beside.signed.then(|| signature_path(name));
            [control_path(beside, name).filter(|own| own != name), signature]
        })
        .flatten()
        .collect()
}

/// Whose signatures count: the department's certificates, under the authorities of departments where some are named.
pub(super) fn signers(workspace: &Workspace, files: &Files) -> Result<Signers, SourceError> {
    let mut pinned = Vec::new();
    let unread = |file: &str, error: CryptoError| SourceError::reading(file, std::io::Error::other(error.to_string()));
    for file in &files.certificates {
        let pem = std::fs::read(workspace.dir.join(&file.value)).map_err(|e| SourceError::reading(&file.value, e))?;
        pinned.extend(Certificate::all_from_pem(&pem).map_err(|error| unread(&file.value, error))?);
    }
    let trust = pki::trust(workspace, Roots::Departments).map_err(|error| unread("trust: departments", error))?;
    Ok(Signers { pinned, trust })
}

/// What must hold of one file.
#[derive(Default)]
pub(super) struct Checks {
    /// Of the file.
    pub(super) name: String,
    /// The signature, if it is there, and those whose count; `None` when none is required.
    pub(super) signature: Option<(Option<Vec<u8>>, Signers)>,
    /// What the control file should say, and its bytes.
    pub(super) control: Option<(Template, Option<Vec<u8>>)>,
}

impl Checks {
    /// Checks everything. Errors: `HL0354`, `HL0355`, `HL0356`.
    pub(super) fn hold(&self, input: &Arc<dyn Input>, format: &Format) -> Result<(), SourceError> {
        if let Some((signature, signers)) = &self.signature {
            let Some(signature) = signature else { return Err(SourceError::Unsigned { name: self.name.clone() }) };
            let mut content = input.read_from(0).map_err(|e| SourceError::reading(&self.name, e))?;
            verify_pinned(signature, content.as_mut(), signers, now()).map_err(|error| match error {
                CryptoError::File { why, .. } => SourceError::reading(&self.name, std::io::Error::other(why)),
                error => SourceError::Signature { name: self.name.clone(), why: format!("{} {error}", error.code()) },
            })?;
        }
        match &self.control {
            Some((says, Some(bytes))) => self.control(says, bytes, input, format),
            // That it vanished between listing and opening is a change.
            Some((_, None)) => Err(SourceError::Changed { name: self.name.clone() }),
            None => Ok(()),
        }
    }

    fn control(
        &self,
        says: &Template,
        bytes: &[u8],
        input: &Arc<dyn Input>,
        format: &Format,
    ) -> Result<(), SourceError> {
        let differs = |why: String| SourceError::Control { name: self.name.clone(), why };
        let text = String::from_utf8_lossy(bytes);
        let own = self.name.rsplit('/').next().unwrap_or(&self.name);
        let line = text.trim_start_matches('\u{FEFF}').lines().find_map(|line| {
            let found = says.match_all(line.trim())?;
            found.get("name").is_none_or(|name| name.trim() == own).then_some(found)
        });
        let found = line.ok_or_else(|| differs(format!("it does not say {:?} of this file", says.as_str())))?;
        if let Some(declared) = found.number("bytes") {
            let declared = declared.ok_or_else(|| differs("what it says of bytes is no number".to_owned()))?;
            if declared != input.len() {
                return Err(differs(format!("it says {declared} bytes, the file has {}", input.len())));
            }
        }
        if let Some(declared) = found.number("rows") {
            let declared = declared.ok_or_else(|| differs("what it says of rows is no number".to_owned()))?;
            let rows = decode::count(Arc::clone(input), format, Limits::default())?;
            if declared != rows {
                return Err(differs(format!("it says {declared} rows, the file has {rows}")));
            }
        }
        Ok(())
    }
}

/// Signatures are judged by the real time, whatever day a run believes it is.
fn now() -> chrono::DateTime<chrono::Utc> {
    crate::clock::Clock::System.now()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Control;

    fn beside(file: &str) -> Beside {
        Beside { control: Some(Control { file: file.to_owned(), says: None }), signed: true }
    }

    #[test]
    fn control_files_and_signatures_have_the_names_of_their_files() {
        let path = |template: &str, path: &str| control_path(&beside(template), path).unwrap();
        assert_eq!(path("{name}.ok", "out/QY_1.csv"), "out/QY_1.csv.ok");
        assert_eq!(path("{stem}.chk", "QY_1.csv"), "QY_1.chk");
        assert_eq!(path("ok/{stem}.ok", "out/QY_1.csv"), "out/ok/QY_1.ok");
        assert_eq!(signature_path("out/QY_1.csv"), "out/QY_1.csv.p7s");
        let all = ["QY_1.csv", "QY_1.csv.ok", "QY_1.csv.p7s"];
        let others = names(&beside("{name}.ok"), all.into_iter());
        assert!(!others.contains("QY_1.csv") && others.contains("QY_1.csv.ok") && others.contains("QY_1.csv.p7s"));
    }
}
