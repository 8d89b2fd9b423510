//! Digests by which runs, claims and batches name the definitions they used.

use std::collections::BTreeMap;
use std::fmt::Write;

use sha2::{Digest, Sha256};

use super::{Feed, Pipeline, Workspace};

impl Workspace {
    /// Digest of every definition file's path and bytes, lower-case hexadecimal. The same files give the same digest
    /// on any machine, in any directory.
    pub fn digest(&self) -> String {
        let mut all = Sha256::new();
        for (path, digest) in &self.files {
            absorb(&mut all, path, digest);
        }
        hex(&all.finalize())
    }

    /// Digest of what one mapping's result depends on: its SQL, its register and the code tables it names. The first
    /// 16 characters are the mapping version. `None` when there is no such mapping.
    pub fn mapping_digest(&self, system: &str, dataset: &str, register: &str) -> Option<String> {
        let key = (system.to_owned(), dataset.to_owned(), register.to_owned());
        let mapping = self.mappings.get(&key)?;
        let register_file = register_file(register);
        let mut all = Sha256::new();
        for path in [mapping.file.clone(), register_file].into_iter().chain(self.named_codes(&mapping.sql)) {
            absorb(&mut all, &path, self.files.get(&path).map(String::as_str).unwrap_or_default());
        }
        Some(hex(&all.finalize()))
    }

    /// Files on which what a pipeline does depends, by path, with their digests: its own, its system's, and for each
    /// register the register's, the mapping's and those of the code tables that the mapping names.
    pub fn files_of_pipeline(&self, pipeline: &Pipeline) -> BTreeMap<String, String> {
        let from = &pipeline.from.value;
        let mut paths = vec![format!("pipelines/{}.yaml", pipeline.name), format!("connectors/{}.yaml", from.system)];
        for register in &pipeline.into {
            paths.push(register_file(&register.value));
            let key = (from.system.clone(), from.dataset.clone(), register.value.clone());
            if let Some(mapping) = self.mappings.get(&key) {
                paths.push(mapping.file.clone());
                paths.extend(self.named_codes(&mapping.sql));
            }
        }
        self.digested(paths)
    }

    /// Files on which what a feed releases depends, by path, with their digests: its own, its register's, and those of
    /// the code tables that it names.
    pub fn files_of_feed(&self, feed: &Feed) -> BTreeMap<String, String> {
        let text = self.texts.get(&feed.file).map_or("", String::as_str);
        let paths = [feed.file.clone(), register_file(&feed.register.value)];
        self.digested(paths.into_iter().chain(self.named_codes(text)))
    }

    fn digested(&self, paths: impl IntoIterator<Item = String>) -> BTreeMap<String, String> {
        paths.into_iter().filter_map(|path| Some((path.clone(), self.files.get(&path)?.clone()))).collect()
    }

    /// Files of the code tables that a text names in quotes.
    fn named_codes<'a>(&'a self, text: &'a str) -> impl Iterator<Item = String> + 'a {
        let named = self.codes.iter().filter(move |(name, _)| text.contains(&format!("'{name}'")));
        named.map(|(_, table)| table.file.clone())
    }

    /// SHA-256 of the file that holds a feed's grant, in hexadecimal, as `sha256sum` prints it. `None` when there is
    /// no such feed.
    pub fn feed_digest(&self, feed: &str) -> Option<&str> {
        self.files.get(&self.feeds.get(feed)?.file).map(String::as_str)
    }
}

fn register_file(register: &str) -> String {
    format!("mappings/registers/{register}.yaml")
}

/// Path and digest, told apart from their neighbours by bytes that neither contains.
fn absorb(all: &mut Sha256, path: &str, digest: &str) {
    all.update(path.as_bytes());
    all.update([0]);
    all.update(digest.as_bytes());
    all.update([b'\n']);
}

/// Lower-case hexadecimal.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a String can always be written to");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::super::sample::{load_and_check, put, write};

    fn digests(edit: Option<(&str, &str)>) -> (String, String) {
        let dir = write();
        if let Some((path, text)) = edit {
            put(dir.path(), path, text.as_bytes());
        }
        let (workspace, _) = load_and_check(dir.path());
        let mapping = workspace.mapping_digest("market-regulation", "enterprise", "enterprise").expect("a mapping");
        (workspace.digest(), mapping)
    }

    #[test]
    fn the_same_files_in_another_directory_have_the_same_digest() {
        let (all, mapping) = digests(None);
        assert_eq!(digests(None), (all.clone(), mapping.clone()));
        assert!([all, mapping].iter().all(|hex| hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_hexdigit())));
    }

    #[test]
    fn a_grant_is_named_by_the_bytes_of_its_file() {
        use sha2::{Digest, Sha256};
        let (path, text) =
            super::super::sample::FILES.iter().find(|(path, _)| path.contains("feeds/")).expect("a feed");
        let (workspace, _) = load_and_check(write().path());
        let expect = super::hex(&Sha256::digest(text));
        assert_eq!(workspace.feed_digest("housing.enterprise"), Some(expect.as_str()), "{path}");
        assert_eq!(workspace.feed_digest("housing.person"), None);
    }

    #[test]
    fn a_mapping_changes_with_what_it_depends_on_and_nothing_else() {
        let (all, mapping) = digests(None);
        for (path, text, changes) in [
            ("mappings/market-regulation/enterprise.enterprise.sql", "select '1' as uscc from source", true),
            ("mappings/registers/enterprise.yaml", "version: 1\n", true),
            ("mappings/codes/enterprise_type.csv", "code,name\n1,x\n", true),
            ("mappings/codes/other.csv", "code,name\n1,x\n", false),
            ("pipelines/other.yaml", "version: 1\n", false),
        ] {
            let (all_after, mapping_after) = digests(Some((path, text)));
            assert_ne!(all_after, all, "{path}");
            assert_eq!(mapping_after != mapping, changes, "{path}");
        }
    }
}
