//! A tree against its table: every unknown key, missing key and malformed value, all at once.
//!
//! Decides: what one value may look like. Must not know: other files. Guarantees: whatever it does not report,
//! [`super::view`] can read; secrets and other values of secret leaves never appear in a message.

use super::secret::Surroundings;
use super::shape::{Key, Kind, Need, Shape, Variant, Word, names};
use super::yaml::{Entry, Mark, Node, Value};
use super::{names as naming, scalar};
use crate::error::{Place, Problem};

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
                Some(Key { need: Need::Later, .. }) => self.later(&entry.key, entry.key_at, None),
                Some(key) => self.within(&entry.key, |this| this.node(&entry.node, &key.kind)),
                None => self.unknown_key(entry, shape, tag),
            }
        }
        for key in shape.keys.iter().filter(|key| key.need == Need::Required) {
            if !entries.iter().any(|entry| entry.key == key.name) {
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
            Some(variant) if variant.word.later.is_none() => self.map(node.at, entries, variant.shape, Some(tag)),
            _ => self.within(tag, |this| this.word(text, entry.node.at, &words)),
        }
    }

    fn scalar(&mut self, text: &str, plain: bool, at: Mark, kind: &Kind) {
        if let Kind::Word(words) = kind {
            return self.word(text, at, words);
        }
        let place = self.place(at);
        if let Kind::Secret | Kind::Address = kind {
            let files = matches!(kind, Kind::Secret);
            if let Err(problem) = self.around.resolve(text, files) {
                self.problems.push(problem.at(place));
            }
            return;
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

    fn word(&mut self, text: &str, at: Mark, words: &[Word]) {
        match words.iter().find(|word| word.name == text) {
            Some(Word { later: Some(instead), .. }) => self.later(text, at, Some(instead)),
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
        let problem = Problem::error("HL0108", format!("there is no value{}", self.of_path()));
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

    fn later(&mut self, name: &str, at: Mark, instead: Option<&str>) {
        let message = format!("\"{name}\"{} is not supported by this version yet", self.of_path());
        let problem = Problem::error("HL0110", message).at(self.place(at));
        self.problems.push(problem.hint(instead.unwrap_or("leave it out, or use a version that supports it")));
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
