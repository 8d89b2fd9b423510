//! A tree against its table: every unknown key, missing key and malformed value, all at once.
//!
//! Decides: what one value may look like. Must not know: other files. Guarantees: whatever it does not report,
//! [`super::view`] can read; secrets and other values of secret leaves never appear in a message.

use super::secret::Surroundings;
use super::shape::{Key, Kind, Need, Shape, Variant, Word, names};
use super::yaml::{Entry, Mark, Node, Value};
use super::{names as naming, scalar};
use crate::error::{Place, Problem, Severity};

/// Reports everything in `node` that does not fit `kind`.
pub(super) fn conform(file: &str, node: &Node, kind: &Kind, around: &Surroundings, problems: &mut Vec<Problem>) {
    Conform { file, around, problems, path: Vec::new() }.node(node, kind);
}

struct Conform<'a> {
    file: &'a str,
    around: &'a Surroundings<'a>,
    problems: &'a mut Vec<Problem>,
    /// Keys from the root to here.
    path: Vec<String>,
}

impl Conform<'_> {
    fn node(&mut self, node: &Node, kind: &Kind) {
        match (kind, &node.value) {
            (_, Value::Refused) => {}
            (Kind::Either(kinds), value) => match kinds.iter().find(|kind| has_form(kind, value)) {
                Some(kind) => self.node(node, kind),
                None => self.wrong_form(node, kind),
            },
            (Kind::Map(shape), Value::Map(entries)) => self.map(node.at, entries, shape, None),
            (Kind::Map(shape), _) if self.path.is_empty() && node.is_nothing() => self.map(node.at, &[], shape, None),
            (Kind::Tagged(tag, variants), Value::Map(entries)) => self.tagged(node, entries, tag, variants),
            (Kind::Each(naming, kind), Value::Map(entries)) => {
                for entry in entries {
                    self.problems.extend(naming::check(*naming, &entry.key, &self.place(entry.key_at)));
                    self.within(&entry.key, |this| this.node(&entry.node, kind));
                }
            }
            (Kind::List(kind), Value::List(items)) => {
                for (index, item) in items.iter().enumerate() {
                    self.within(&(index + 1).to_string(), |this| this.node(item, kind));
                }
            }
            (kind, Value::Scalar { text, plain }) if is_scalar(kind) => {
                if node.is_nothing() && !matches!(kind, Kind::Mask | Kind::Cell) {
                    self.nothing(node, kind);
                } else {
                    self.scalar(text, *plain, node.at, kind);
                }
            }
            _ => self.wrong_form(node, kind),
        }
    }

    /// Fixed keys; `tag` is the one that has been dealt with already.
    fn map(&mut self, at: Mark, entries: &[Entry], shape: &Shape, tag: Option<&str>) {
        for entry in entries.iter().filter(|entry| Some(entry.key.as_str()) != tag) {
            match shape.key(&entry.key) {
                Some(Key { need: Need::Later, .. }) => self.later(&entry.key, entry.key_at),
                Some(key) => self.within(&entry.key, |this| this.node(&entry.node, &key.kind)),
                None => self.unknown_key(entry, shape, tag),
            }
        }
        let stands = |name: &str| entries.iter().any(|entry| entry.key == name);
        for key in shape.keys {
            let needed = match key.need {
                Need::Required => true,
                Need::Unless(others) => !others.iter().any(|other| stands(other)),
                Need::Optional | Need::Default(_) | Need::Later => false,
            };
            if needed && !stands(key.name) {
                self.missing(key.name, key.title, &key.kind, at);
            }
        }
    }

    fn tagged(&mut self, node: &Node, entries: &[Entry], tag: &str, variants: &[Variant]) {
        let words: Vec<Word> = variants.iter().map(|variant| variant.word).collect();
        let Some(entry) = entries.iter().find(|entry| entry.key == tag) else {
            return self.problems.push(
                Problem::error("HL0107", format!("required key \"{tag}\"{} is missing", self.of_path()))
                    .at(self.place(node.at))
                    .detail(format!("it is one of {}", names(&words))),
            );
        };
        let Value::Scalar { text, .. } = &entry.node.value else {
            return self.within(tag, |this| this.wrong_form(&entry.node, &Kind::Text));
        };
        match variants.iter().find(|variant| variant.word.name == text) {
            Some(variant) => self.map(node.at, entries, variant.shape, Some(tag)),
            None => self.within(tag, |this| this.word(text, entry.node.at, &words)),
        }
    }

    fn scalar(&mut self, text: &str, plain: bool, at: Mark, kind: &Kind) {
        if let Kind::Word(words) = kind {
            return self.word(text, at, words);
        }
        let place = self.place(at);
        if let Kind::Secret(_) | Kind::Named | Kind::Address = kind {
            return self.reference(text, place, kind);
        }
        if let Err(wrong) = scalar::check(text, plain, kind) {
            let message = format!("\"{}\"{} is not {}", shortened(text), self.of_path(), wrong.not);
            let problem = Problem::error(wrong.code, message).at(place);
            let problem = problem.detail(format!("expected {}", kind.expected()));
            self.problems.push(match wrong.hint {
                Some(hint) => problem.hint(hint),
                None => problem,
            });
        }
    }

    /// A reference that leads nowhere is missed by whoever uses it: here it is a warning.
    fn reference(&mut self, text: &str, place: Place, kind: &Kind) {
        if let Kind::Secret(others) = kind
            && !["env:", "file:"].iter().chain(*others).any(|begin| text.starts_with(begin))
        {
            let problem = Problem::error("HL0124", format!("the secret{} stands in the file", self.of_path()));
            let hint = "write env:NAME or file:PATH, and have what stood here changed: it was in git";
            return self.problems.push(problem.at(place).hint(hint));
        }
        if let Err(problem) = self.around.resolve(text, kind.takes_files()) {
            self.problems.push(Problem { severity: Severity::Warning, ..problem.at(place) });
        }
    }

    fn word(&mut self, text: &str, at: Mark, words: &[Word]) {
        match words.iter().find(|word| word.name == text) {
            Some(_) => {}
            None => {
                let problem =
                    Problem::error("HL0109", format!("\"{}\"{} is not known", shortened(text), self.of_path()))
                        .at(self.place(at))
                        .detail(format!("expected one of {}", names(words)))
                        .did_you_mean(text, words.iter().map(|word| word.name));
                self.problems.push(problem);
            }
        }
    }

    fn unknown_key(&mut self, entry: &Entry, shape: &Shape, tag: Option<&str>) {
        let own: Vec<&str> = shape.keys.iter().filter(|key| key.need != Need::Later).map(|key| key.name).collect();
        let known: Vec<&str> = tag.into_iter().chain(own).collect();
        let problem = Problem::error("HL0106", format!("unknown key \"{}\"{}", shortened(&entry.key), self.of_path()))
            .at(self.place(entry.key_at))
            .detail(format!("the keys here are {}", known.join(", ")))
            .did_you_mean(&entry.key, known);
        self.problems.push(problem);
    }

    fn missing(&mut self, name: &str, title: &str, kind: &Kind, at: Mark) {
        let problem = Problem::error("HL0107", format!("required key \"{name}\"{} is missing", self.of_path()));
        self.problems.push(problem.at(self.place(at)).detail(format!("{title}: {}", kind.expected())));
    }

    fn nothing(&mut self, node: &Node, kind: &Kind) {
        let problem = Problem::error("HL0108", format!("there is no value under {}", self.path.join(".")));
        self.problems.push(problem.at(self.place(node.at)).detail(format!("expected {}", kind.expected())));
    }

    fn wrong_form(&mut self, node: &Node, kind: &Kind) {
        if node.is_nothing() {
            return self.nothing(node, kind);
        }
        let form = match node.value {
            Value::Scalar { .. } => "one value",
            Value::List(_) => "a list",
            Value::Map(_) | Value::Refused => "a group of keys",
        };
        let problem = Problem::error("HL0108", format!("{form}{} is not what belongs here", self.of_path()));
        self.problems.push(problem.at(self.place(node.at)).detail(format!("expected {}", kind.expected())));
    }

    fn later(&mut self, name: &str, at: Mark) {
        let message = format!("\"{name}\"{} is not supported by this version yet", self.of_path());
        let problem = Problem::error("HL0110", message).at(self.place(at));
        self.problems.push(problem.hint("leave it out, or use a version that supports it"));
    }

    fn within(&mut self, key: &str, then: impl FnOnce(&mut Self)) {
        self.path.push(shortened(key));
        then(self);
        self.path.pop();
    }

    /// ` of datasets.enterprise`, or nothing at the root.
    fn of_path(&self) -> String {
        if self.path.is_empty() { String::new() } else { format!(" of {}", self.path.join(".")) }
    }

    fn place(&self, at: Mark) -> Place {
        at.place(self.file)
    }
}

/// Whether a kind is written as one value.
pub(super) fn is_scalar(kind: &Kind) -> bool {
    !matches!(kind, Kind::List(_) | Kind::Each(..) | Kind::Map(_) | Kind::Tagged(..) | Kind::Either(_))
}

/// Whether `value` has the form in which `kind` is written.
pub(super) fn has_form(kind: &Kind, value: &Value) -> bool {
    match value {
        Value::Scalar { .. } => is_scalar(kind),
        Value::List(_) => matches!(kind, Kind::List(_)),
        Value::Map(_) => matches!(kind, Kind::Each(..) | Kind::Map(_) | Kind::Tagged(..)),
        Value::Refused => false,
    }
}

/// What a person wrote, short enough for a message.
fn shortened(text: &str) -> String {
    const LONGEST: usize = 40;
    let first_line = text.lines().next().unwrap_or_default();
    if first_line.chars().count() > LONGEST || first_line.len() < text.len() {
        format!("{}…", first_line.chars().take(LONGEST).collect::<String>())
    } else {
        text.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample::check;

    const CONNECTOR: &str = "connectors/";
    const PIPELINE: &str = "enterprise-registration";
    const FEED: &str = "feeds/";

    #[test]
    fn the_sample_has_no_problems() {
        check(CONNECTOR, "version: 1", "version: 1", &[]);
    }

    #[test]
    fn an_unknown_key_is_pointed_at_with_the_nearest_name() {
        let problems = check(CONNECTOR, "    columns:", "    colums:", &["HL0107 11:5", "HL0106 16:5"]);
        insta::assert_snapshot!(problems[1].to_string(), @r#"
        error[HL0106]: unknown key "colums" of datasets.enterprise
          --> connectors/market-regulation.yaml:16:5
          Detail: the keys here are title, path, format, control, signature, table, query, read_flag, page, key, updated, extract, queue, request, pages, operation, missing, columns, drift
          Hint: did you mean columns?
        "#);
    }

    #[test]
    fn keys_of_a_tagged_group_depend_on_its_word() {
        check(CONNECTOR, "encoding: auto", "sheet: 表1", &["HL0106 12:26"]);
        check(CONNECTOR, "{ kind: csv, encoding: auto }", "{ kind: excel, sheet: 表1 }", &[]);
        check(CONNECTOR, "{ kind: csv, encoding: auto }", "{ kind: xml }", &["HL0107 12:13"]);
        check(CONNECTOR, "{ kind: csv, encoding: auto }", "{ encoding: auto }", &["HL0107 12:13"]);
        check(CONNECTOR, "kind: csv", "kind: cvs", &["HL0109 12:21"]);
        check(CONNECTOR, "{ kind: csv, encoding: auto }", "csv", &["HL0108 12:13"]);
    }

    #[test]
    fn everything_wrong_with_a_file_is_reported_at_once() {
        check(
            PIPELINE,
            "within: 4h                             # freshness promised; late is an alert\ncheck:\n",
            "within: 4\nrate: 5\nschedul: x\ncheck: yes\nlimits:\n",
            &["HL0111 5:9", "HL0106 6:1", "HL0106 7:1", "HL0108 8:8", "HL0106 9:1"],
        );
    }

    #[test]
    fn values_are_of_the_form_that_belongs_there() {
        for (file, from, to, expect) in [
            (CONNECTOR, "retract: true", "retract: yes", &["HL0108 15:25"][..]),
            (CONNECTOR, "hold_above: 5%", "hold_above: 0.05", &["HL0111 15:43"]),
            (CONNECTOR, "企业名称: text", "企业名称: txt", &["HL0109 18:13"]),
            (CONNECTOR, "企业名称: text", "企业名称:", &["HL0108 18:11"]),
            (CONNECTOR, "企业名称: text", "企业名称: [text]", &["HL0108 18:13"]),
            (CONNECTOR, "version: 1", "version: 2", &["HL0113 1:10"]),
            (PIPELINE, "schedule: 0 30 2 * * *", "schedule: 30 2 * * *", &["HL0112 4:11"]),
            (PIPELINE, "memory: 512MiB", "memory: 512", &["HL0111 11:11"]),
            (FEED, "on: 2026-03-01", "on: 2026-3-1", &["HL0108 6:28"]),
            (FEED, "purpose: 建设工程招投标资格审查", "purpose: \"\"", &["HL0108 4:10"]),
            (FEED, "records: 5000", "records: 0", &["HL0108 17:21"]),
        ] {
            check(file, from, to, expect);
        }
    }

    #[test]
    fn a_secret_does_not_stand_in_the_file() {
        const FILES: &str = "  kind: files\n  root: out";
        let problems = check(CONNECTOR, "root: out", "root: ftp://x/out\n  password: hunter2", &["HL0124 8:13"]);
        assert!(problems[0].message.contains("source.password") && !problems[0].to_string().contains("hunter2"));
        for auth in [
            "{ kind: api_key, value: hunter2 }",
            "{ kind: basic, user: u, password: hunter2 }",
            "{ kind: oauth2, token_url: \"https://x/t\", client_id: c, client_secret: hunter2 }",
            "{ kind: hmac, app_id: a, secret: hunter2 }",
        ] {
            let service = format!("  kind: http\n  base: https://x/y\n  auth: {auth}");
            let column = "  auth: ".len() + auth.find("hunter2").unwrap_or_default() + 1;
            check(CONNECTOR, FILES, &service, &[&format!("HL0124 8:{column}")]);
        }
    }

    #[test]
    fn references_to_secrets_lead_somewhere_and_are_never_printed() {
        check(CONNECTOR, "root: out", "root: env:SET", &[]);
        check(CONNECTOR, "root: out", "root: env:UNSET", &["HL0118 7:9 warning"]);
        let ftp = |more: &str| format!("root: ftp://x/out\n  user: u\n  {more}");
        check(CONNECTOR, "root: out", &ftp("password: env:SET"), &[]);
        check(CONNECTOR, "root: out", &ftp("password: env:UNSET"), &["HL0118 9:13 warning"]);
        check(CONNECTOR, "root: out", &ftp("password: file:nowhere"), &["HL0119 9:13 warning"]);
    }
}
