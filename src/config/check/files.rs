//! Sources and datasets of files: roots that can be reached, formats that fit their contract.

use super::super::{Beside, Dataset, Files, Format, Offer};
use crate::error::Problem;

/// Checks how a source is reached.
pub(super) fn of_source(files: &Files) -> Vec<Problem> {
    let root = &files.root;
    let (scheme, rest) = root.value.split_once("://").unwrap_or(("", ""));
    let mut problems = Vec::new();
    if !matches!(scheme, "" | "file" | "sftp" | "ftp" | "ftps" | "s3" | "webdav" | "webdavs") {
        let problem = Problem::error("HL0109", "the root of this source has an unknown scheme").at(root.place.clone());
        problems.push(problem.detail("expected a directory or one of file, sftp, ftp, ftps, s3, webdav, webdavs"));
    }
    if rest.split('/').next().unwrap_or(rest).contains('@') {
        let problem = Problem::error("HL0144", "the root of this source says who we are").at(root.place.clone());
        problems.push(problem.hint("write user: env:NAME and password: env:NAME beside it, and the root without them"));
    }
    match (&files.host_key, scheme) {
        (None, "sftp") => {
            let problem = Problem::error("HL0353", "an SFTP source must say which key its server has");
            problems.push(
                problem.at(root.place.clone()).hint("host_key: ssh-ed25519 AAAA… (ssh-keyscan prints it; compare it)"),
            );
        }
        (Some(key), scheme) if scheme != "sftp" => {
            let problem = Problem::warning("HL0122", "host_key has no effect: only SFTP servers have one");
            problems.push(problem.at(key.place.clone()));
        }
        _ => {}
    }
    if scheme == "sftp" && files.host_key.is_some() && files.key.is_none() && files.password.is_none() {
        let problem = Problem::error("HL0107", "an SFTP source needs a key or a password").at(root.place.clone());
        problems.push(problem.hint("key: file:/run/secrets/id_ed25519"));
    }
    problems
}

/// Checks one dataset of such a source.
pub(super) fn of_dataset(files: &Files, dataset: &Dataset) -> Vec<Problem> {
    let Offer::Files { format, beside, .. } = &dataset.offer else { return Vec::new() };
    let mut problems = Vec::new();
    if let Beside { signed: true, .. } = beside
        && files.certificates.is_empty()
    {
        let message =
            format!("signature of dataset \"{}\" is required, and its source names no certificate", dataset.name);
        let problem = Problem::error("HL0107", message).at(dataset.place.clone());
        problems.push(problem.hint("certificate: certs/DEPARTMENT.pem under source"));
    }
    if let Format::Fixed { widths, .. } = format.unpacked()
        && widths.len() != dataset.columns.len()
    {
        let message = format!("{} widths for {} columns of \"{}\"", widths.len(), dataset.columns.len(), dataset.name);
        let problem = Problem::error("HL0147", message).at(dataset.place.clone());
        problems.push(problem.hint("give one width for each column of the contract, in its order"));
    }
    if let Format::Separated { head, .. } = format.unpacked() {
        let names: Vec<&str> = head.iter().flat_map(|head| head.names()).collect();
        for column in &dataset.columns {
            let Some(name) = column.path.as_deref() else { continue };
            if name.strip_prefix("head.").is_none_or(|name| !names.contains(&name)) {
                let message = format!("path of column \"{}\" is nothing that the file's head says", column.name);
                let problem = Problem::error("HL0147", message).at(column.place.clone());
                let known = names.iter().map(|name| format!("head.{name}")).collect::<Vec<_>>().join(", ");
                problems.push(problem.detail(format!("the head says {known}")));
            }
        }
    }
    problems
}
