//! A directory of definition files → a [`Workspace`] and every problem of each file by itself.
//!
//! Decides: which files are definitions, by where they lie and what they are called. Guarantees: one unreadable file
//! hides no other; nothing above the size limits is read into memory.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Read;
use std::path::Path;

use sha2::{Digest, Sha256};

use super::calendar::{FILE as CALENDAR, PublishedYear};
use super::conform::conform;
use super::names::{self, is_valid};
use super::read::{calendar, cases, connector, feed, installation, pipeline, register};
use super::secret::Surroundings;
use super::shape::{Kind, Naming};
use super::view::View;
use super::yaml::{self, Mark, Node, Value};
use super::{Case, CodeTable, MappingFile, Workspace, codes};
use crate::error::{Place, Problem};

/// What came of a directory.
pub(super) struct Loaded {
    pub workspace: Workspace,
    pub problems: Vec<Problem>,
    /// Files with an error of their own: what others say about their content is not to be trusted.
    pub broken: BTreeSet<String>,
    /// Examples by mapping.
    pub cases: BTreeMap<(String, String, String), Vec<Case>>,
}

/// Reads everything there is.
pub(super) fn load(around: &Surroundings<'_>) -> Loaded {
    load_from(around, None)
}

/// As [`load`], out of texts that were kept instead of a directory; the installation then reads as its defaults.
pub(super) fn load_from(around: &Surroundings<'_>, kept: Option<&BTreeMap<String, String>>) -> Loaded {
    let mut loader = Loader { around, kept, problems: Vec::new(), files: BTreeMap::new(), texts: BTreeMap::new() };
    let is_dir = |dir: &&str| around.dir.join(dir).is_dir();
    if kept.is_none() && !["connectors", "mappings", "pipelines"].iter().any(is_dir) {
        let dir = around.dir.display();
        loader.problems.push(
            Problem::error("HL0801", format!("{dir} is not a workspace"))
                .detail("it has none of connectors/, mappings/ and pipelines/")
                .hint("name the workspace with --dir DIR, or make one with `huiliu init DIR`"),
        );
    }
    let installation = loader.installation();
    let connectors = loader.each("connectors", Naming::Plain, &Kind::Map(&connector::CONNECTOR), |name, _, view| {
        connector::read(name, view)
    });
    let registers =
        loader.each("mappings/registers", Naming::Identifier, &Kind::Map(&register::REGISTER), |name, _, view| {
            register::read(name, view)
        });
    let pipelines = loader
        .each("pipelines", Naming::Plain, &Kind::Map(&pipeline::PIPELINE), |name, _, view| pipeline::read(name, view));
    let feeds = loader.each("pipelines/feeds", Naming::Foreign, &Kind::Map(&feed::FEED), feed::read);
    let codes = loader.codes();
    let calendar = loader.calendar();
    let (mappings, cases) = loader.mappings();
    let Loader { problems, files, texts, .. } = loader;
    let unset = problems.iter().filter(|problem| super::secret::is_unset(problem)).cloned().collect();
    let broken = problems.iter().filter(|p| p.is_error()).filter_map(|p| p.place.as_ref()).map(|at| at.file.clone());
    Loaded {
        broken: broken.collect(),
        workspace: Workspace {
            dir: around.dir.to_owned(),
            installation,
            connectors,
            registers,
            pipelines,
            feeds,
            mappings,
            codes,
            calendar,
            files,
            texts,
            unset,
        },
        problems,
        cases,
    }
}

struct Loader<'a> {
    around: &'a Surroundings<'a>,
    /// Instead of a directory: texts by path.
    kept: Option<&'a BTreeMap<String, String>>,
    problems: Vec<Problem>,
    files: BTreeMap<String, String>,
    texts: BTreeMap<String, String>,
}

type Mappings = BTreeMap<(String, String, String), MappingFile>;
type CasesByMapping = BTreeMap<(String, String, String), Vec<Case>>;

impl Loader<'_> {
    /// All YAML files of one kind, by name.
    fn each<T>(
        &mut self,
        dir: &str,
        naming: Naming,
        kind: &Kind,
        read: impl Fn(&str, &str, View<'_>) -> T,
    ) -> BTreeMap<String, T> {
        let mut all = BTreeMap::new();
        for name in self.names(dir, ".yaml", naming) {
            let file = format!("{dir}/{name}.yaml");
            if let Some(node) = self.yaml(&file, kind) {
                let value = read(&name, &file, View::root(&file, &node, kind, self.around));
                all.insert(name, value);
            }
        }
        all
    }

    fn installation(&mut self) -> super::Installation {
        const FILE: &str = "huiliu.yaml";
        let kind = Kind::Map(&installation::INSTALLATION);
        let written = self.exists(FILE).then(|| self.yaml(FILE, &kind)).flatten();
        let node = written.unwrap_or(Node { at: Mark::START, value: Value::Map(Vec::new()) });
        installation::read(self.around.dir, View::root(FILE, &node, &kind, self.around))
    }

    fn codes(&mut self) -> BTreeMap<String, CodeTable> {
        let mut all = BTreeMap::new();
        for name in self.names("mappings/codes", ".csv", Naming::Plain) {
            let file = format!("mappings/codes/{name}.csv");
            if let Some(text) = self.text(&file, codes::LARGEST) {
                all.insert(name, codes::read(&file, &text, &mut self.problems));
            }
        }
        all
    }

    fn calendar(&mut self) -> Vec<PublishedYear> {
        let kind = Kind::Map(&calendar::CALENDAR);
        let node = self.exists(CALENDAR).then(|| self.yaml(CALENDAR, &kind)).flatten();
        node.map(|node| calendar::read(View::root(CALENDAR, &node, &kind, self.around))).unwrap_or_default()
    }

    fn mappings(&mut self) -> (Mappings, CasesByMapping) {
        let (mut mappings, mut cases) = (BTreeMap::new(), BTreeMap::new());
        let systems: Vec<String> =
            self.entries("mappings").into_iter().filter(|(_, is_dir)| *is_dir).map(|(n, _)| n).collect();
        for system in systems.iter().filter(|name| !matches!(name.as_str(), "registers" | "codes")) {
            let dir = format!("mappings/{system}");
            for name in self.names(&dir, ".sql", Naming::Foreign) {
                let Some(key) = self.mapping_key(system, &name) else { continue };
                let Some(sql) = self.text(&format!("{dir}/{name}.sql"), yaml::LARGEST) else { continue };
                let cases_file = format!("{dir}/{name}.cases.yaml");
                let text = self.exists(&cases_file).then(|| self.text(&cases_file, yaml::LARGEST));
                let text = text.flatten();
                if let Some(text) = &text {
                    cases.insert(key.clone(), read_cases(&cases_file, text, self.around, &mut self.problems));
                }
                let cases = text.map(|text| (cases_file, text));
                mappings.insert(key, MappingFile { file: format!("{dir}/{name}.sql"), sql, cases });
            }
            self.orphaned_cases(&dir);
        }
        (mappings, cases)
    }

    /// `dataset.register` of a mapping's file name.
    fn mapping_key(&mut self, system: &str, name: &str) -> Option<(String, String, String)> {
        match name.split('.').collect::<Vec<_>>().as_slice() {
            [dataset, register] if is_valid(Naming::Plain, dataset) && is_valid(Naming::Identifier, register) => {
                Some((system.to_owned(), (*dataset).to_owned(), (*register).to_owned()))
            }
            _ => {
                let file = format!("mappings/{system}/{name}.sql");
                self.problems.push(
                    Problem::error("HL0117", format!("{file} does not say which dataset it maps onto which register"))
                        .at(Mark::START.place(&file))
                        .hint("call it <dataset>.<register>.sql"),
                );
                None
            }
        }
    }

    fn orphaned_cases(&mut self, dir: &str) {
        for name in self.names(dir, ".cases.yaml", Naming::Foreign) {
            let sql = format!("{dir}/{name}.sql");
            if !self.exists(&sql) {
                let place = Mark::START.place(&format!("{dir}/{name}.cases.yaml"));
                self.problems.push(
                    Problem::error("HL0139", "these examples belong to no mapping")
                        .at(place)
                        .detail(format!("there is no {sql}")),
                );
            }
        }
    }

    /// Stems of the files in `dir` that end in `suffix`, valid as names, sorted; definitions that nobody reads are
    /// warned about.
    fn names(&mut self, dir: &str, suffix: &str, naming: Naming) -> Vec<String> {
        let mut stems = Vec::new();
        for (file, is_dir) in self.entries(dir) {
            if is_dir {
                continue;
            }
            let place = Mark::START.place(&format!("{dir}/{file}"));
            match file.strip_suffix(suffix) {
                Some(stem) => match names::check(naming, stem, &place) {
                    None => stems.push(stem.to_owned()),
                    Some(problem) => self.problems.push(problem),
                },
                None if is_unread(dir, &file) => {
                    let problem = Problem::warning("HL0116", format!("{dir}/{file} is not read")).at(place);
                    self.problems.push(problem.detail(format!("definitions here end in {suffix}")));
                }
                None => {}
            }
        }
        stems
    }

    fn exists(&self, file: &str) -> bool {
        self.kept.map_or_else(|| self.around.dir.join(file).exists(), |kept| kept.contains_key(file))
    }

    /// Names in `dir`, sorted, without hidden ones, and whether each is a directory.
    fn entries(&mut self, dir: &str) -> Vec<(String, bool)> {
        if let Some(kept) = self.kept {
            return kept_entries(kept, dir);
        }
        let path = self.around.dir.join(dir);
        if !path.exists() {
            return Vec::new();
        }
        let listed = fs::read_dir(&path).and_then(|entries| {
            let named = |entry: fs::DirEntry| (entry.file_name().to_string_lossy().into_owned(), entry.path().is_dir());
            entries.map(|entry| entry.map(named)).collect::<Result<Vec<_>, _>>()
        });
        match listed {
            Ok(mut entries) => {
                entries.retain(|(name, _)| !name.starts_with('.'));
                entries.sort();
                entries
            }
            Err(error) => {
                let problem = Problem::error("HL0105", format!("{dir} cannot be read")).detail(error.to_string());
                self.problems.push(problem.at(Mark::START.place(dir)));
                Vec::new()
            }
        }
    }

    fn yaml(&mut self, file: &str, kind: &Kind) -> Option<Node> {
        let text = self.text(file, yaml::LARGEST)?;
        let node = yaml::parse(file, &text, &mut self.problems)?;
        conform(file, &node, kind, self.around, &mut self.problems);
        Some(node)
    }

    /// The text of a file; its digest is kept.
    fn text(&mut self, file: &str, largest: usize) -> Option<String> {
        let kept = self.kept.map(|kept| Ok(kept.get(file).map(|text| text.clone().into_bytes())));
        let bytes = match kept.unwrap_or_else(|| read_at_most(&self.around.dir.join(file), largest)) {
            Ok(Some(bytes)) => bytes,
            Ok(None) => {
                let problem = Problem::error("HL0104", format!("{file} is larger than a definition file can be"));
                self.problems.push(
                    problem.at(Mark::START.place(file)).detail(format!("at most {} MiB are read", largest >> 20)),
                );
                return None;
            }
            Err(error) => {
                let problem = Problem::error("HL0105", format!("{file} cannot be read")).detail(error.to_string());
                self.problems.push(problem.at(Mark::START.place(file)));
                return None;
            }
        };
        self.files.insert(file.to_owned(), super::digest::hex(&Sha256::digest(&bytes)));
        match String::from_utf8(bytes) {
            Ok(text) => {
                let read = text.strip_prefix('\u{feff}').map_or_else(|| text.clone(), str::to_owned);
                self.texts.insert(file.to_owned(), text);
                Some(read)
            }
            Err(error) => {
                let place = place_of_byte(file, error.as_bytes(), error.utf8_error().valid_up_to());
                let problem = Problem::error("HL0105", format!("{file} is not UTF-8")).at(place);
                self.problems.push(problem.hint("save it as UTF-8; GBK is for departments' data, not for definitions"));
                None
            }
        }
    }
}

/// As a directory would list what was kept: sorted, and whether each is a directory.
fn kept_entries(kept: &BTreeMap<String, String>, dir: &str) -> Vec<(String, bool)> {
    let below = kept.keys().filter_map(|path| path.strip_prefix(dir)?.strip_prefix('/'));
    let names = below.map(|rest| match rest.split_once('/') {
        Some((name, _)) => (name.to_owned(), true),
        None => (rest.to_owned(), false),
    });
    names.collect::<BTreeSet<_>>().into_iter().collect()
}

/// Cases and their problems.
pub(super) fn read_cases(file: &str, text: &str, around: &Surroundings<'_>, problems: &mut Vec<Problem>) -> Vec<Case> {
    match yaml::parse(file, text, problems) {
        None => Vec::new(),
        Some(node) => {
            conform(file, &node, &cases::CASES, around, problems);
            cases::read(View::root(file, &node, &cases::CASES, around))
        }
    }
}

/// Whether a person would expect a file of this name to be read.
fn is_unread(dir: &str, file: &str) -> bool {
    let extension = Path::new(file).extension().map(|ext| ext.to_string_lossy().to_ascii_lowercase());
    let looks_like_one = matches!(extension.as_deref(), Some("yaml" | "yml" | "sql" | "csv"));
    let of_a_mapping = dir.starts_with("mappings/") && (file.ends_with(".sql") || file.ends_with(".cases.yaml"));
    looks_like_one && !of_a_mapping
}

/// `None` when there is more.
fn read_at_most(path: &Path, largest: usize) -> std::io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    fs::File::open(path)?.take(largest as u64 + 1).read_to_end(&mut bytes)?;
    Ok(if bytes.len() > largest { None } else { Some(bytes) })
}

/// Line and column of a byte; everything before it is UTF-8.
fn place_of_byte(file: &str, bytes: &[u8], at: usize) -> Place {
    let before = String::from_utf8_lossy(bytes.get(..at).unwrap_or_default());
    let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    let line = count(before.matches('\n').count()).saturating_add(1);
    let column = count(before.rsplit('\n').next().unwrap_or_default().chars().count()).saturating_add(1);
    Place::new(file, line, column)
}

#[cfg(test)]
mod tests {
    use super::super::sample::{load_and_check, put, summary, write};
    use super::super::{Encoding, Extract, Format, MaskRule, Percent, Rate, Workspace};
    use super::*;
    use crate::record::FieldType;

    #[test]
    fn the_examples_of_the_design_read_as_they_say() {
        let dir = write();
        let (workspace, problems) = load_and_check(dir.path());
        assert_eq!(problems, []);
        let dataset = &workspace.connectors["market-regulation"].datasets["enterprise"];
        assert_eq!(dataset.extract, Extract::Full);
        assert!(matches!(
            dataset.format(),
            Some(Format::Csv {
                encoding: Encoding::Auto,
                delimiter: b',',
                quote: Some(b'"'),
                header: true,
                skip: 0,
                ragged: false
            })
        ));
        let columns: Vec<(&str, bool)> = dataset.columns.iter().map(|c| (c.name.as_str(), c.required)).collect();
        assert_eq!(
            columns,
            [("统一社会信用代码", true), ("企业名称", false), ("注册资本", false), ("成立日期", false)]
        );
        let register = &workspace.registers["enterprise"];
        assert_eq!(register.field("established_on").map(|field| field.kind), Some(FieldType::Date));
        let pipeline = &workspace.pipelines["enterprise-registration"];
        assert_eq!((pipeline.limits.quarantine, pipeline.limits.rate), (Percent(0.005), Some(Rate(5000))));
        assert_eq!(pipeline.checks[0].predicate.value, "rows >= 0.8 * last.rows");
        let feed = &workspace.feeds["housing.enterprise"];
        assert_eq!(feed.mask["legal_representative_id"].value, MaskRule::IdNumber);
        assert_eq!(feed.approved.as_ref().map(|a| a.on.to_string()).as_deref(), Some("2026-03-01"));
        assert_eq!(workspace.installation.store, format!("sqlite:{}", dir.path().join(".huiliu/huiliu.db").display()));
    }

    #[test]
    fn problems_of_all_files_are_reported_together() {
        let dir = write();
        put(dir.path(), "connectors/broken.yaml", b"a: [1\n");
        put(dir.path(), "pipelines/x.yaml", b"version: 1\n");
        put(dir.path(), "mappings/codes/t.csv", b"name\n");
        put(dir.path(), "huiliu.yaml", "version: 1\nissuer: 市\nstore: mysql://x\n".as_bytes());
        put(dir.path(), "connectors/old.yml", b"");
        let expect = ["HL0101 1:4", "HL0116 1:1 warning", "HL0109 1:1", "HL0120 1:1", "HL0107 1:1", "HL0107 1:1"];
        assert_eq!(summary(&load_and_check(dir.path()).1), expect);
    }

    #[test]
    fn what_is_not_utf8_is_pointed_at() {
        let dir = write();
        let mut gbk = "version: 1\n# 企业 ".as_bytes().to_vec();
        gbk.extend_from_slice(&[0xc6, 0xf3, 0xd2, 0xb5]);
        put(dir.path(), "connectors/gbk.yaml", &gbk);
        assert_eq!(summary(&load_and_check(dir.path()).1), ["HL0105 2:6"]);
    }

    #[test]
    fn a_byte_order_mark_is_no_content() {
        let dir = write();
        let text = fs::read(dir.path().join("pipelines/enterprise-registration.yaml")).expect("read");
        put(dir.path(), "pipelines/enterprise-registration.yaml", &[&[0xef, 0xbb, 0xbf], text.as_slice()].concat());
        assert_eq!(load_and_check(dir.path()).1, []);
    }

    #[test]
    fn a_directory_without_definitions_is_no_workspace() {
        let dir = tempfile::tempdir().expect("a directory");
        assert_eq!(summary(&load_and_check(dir.path()).1), ["HL0801 0:0"]);
        let errors = Workspace::load(&dir.path().join("nowhere")).expect_err("nothing there");
        assert_eq!(errors.iter().map(|p| p.code).collect::<Vec<_>>(), ["HL0801"]);
    }

    #[test]
    fn warnings_do_not_stop_a_workspace() {
        let dir = write();
        put(dir.path(), "connectors/old.yml", b"");
        assert!(Workspace::load(dir.path()).is_ok());
        let (partial, problems) = Workspace::load_partial(dir.path());
        assert_eq!((partial.mappings.len(), problems.len()), (1, 1));
    }

    #[test]
    fn a_broken_connector_leaves_its_other_datasets_readable() {
        let dir = write();
        let path = "connectors/market-regulation.yaml";
        let text = fs::read_to_string(dir.path().join(path)).expect("read");
        put(dir.path(), path, text.replace("企业名称: text", "企业名称: txt").as_bytes());
        let (workspace, problems) = load_and_check(dir.path());
        assert_eq!(summary(&problems), ["HL0109 18:13"]);
        assert_eq!(workspace.connectors["market-regulation"].datasets["enterprise"].columns.len(), 4);
    }

    #[test]
    fn file_names_that_differ_only_in_width_are_confusable() {
        let dir = write();
        put(dir.path(), "mappings/codes/ｅnterprise_type.csv", b"code,name\n1,x\n");
        assert_eq!(summary(&load_and_check(dir.path()).1), ["HL0115 1:1"]);
    }
}
