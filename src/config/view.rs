//! Reading a tree through its table, after [`super::conform`] has said everything that is wrong with it.
//!
//! Reading is total: what is absent or malformed reads as the table's default, or as nothing. A workspace with
//! problems is thus still readable, so that SQL can be checked beside them; it is never run.

use super::At;
use super::conform::has_form;
use super::secret::Surroundings;
use super::shape::{Key, Kind, Need, Shape};
use super::yaml::{Entry, Mark, Node, Value};
use crate::error::Place;

/// One place of a tree and what is expected there.
#[derive(Clone, Copy)]
pub(super) struct View<'a> {
    file: &'a str,
    around: &'a Surroundings<'a>,
    node: Option<&'a Node>,
    /// Where it stands; for what is absent, where it is missing.
    at: Mark,
    kind: &'a Kind,
    default: Option<&'static str>,
}

impl<'a> View<'a> {
    /// A whole file.
    pub fn root(file: &'a str, node: &'a Node, kind: &'a Kind, around: &'a Surroundings<'a>) -> Self {
        Self { file, around, node: Some(node), at: node.at, kind, default: None }
    }

    /// Where this stands, or is missing.
    pub fn place(&self) -> Place {
        self.at.place(self.file)
    }

    /// Whether it was written.
    pub fn is_written(&self) -> bool {
        self.node.is_some()
    }

    /// The value under a fixed key.
    pub fn get(&self, name: &str) -> View<'a> {
        let key = self.key(name).expect("readers ask only for keys of their table");
        let entry = self.entries().iter().find(|entry| entry.key == name && key.need != Need::Later);
        let default = match key.need {
            Need::Default(text) => Some(text),
            Need::Required | Need::Unless(_) | Need::Optional | Need::Later => None,
        };
        match entry {
            Some(entry) => View { default, ..self.below(&entry.node, &key.kind) },
            None => View { node: None, kind: &key.kind, default, ..*self },
        }
    }

    /// The chosen names of a [`Kind::Each`] and what stands under them, in file order.
    pub fn each(&self) -> Vec<(At<String>, View<'a>)> {
        let Kind::Each(_, kind) = self.kind else { return Vec::new() };
        let named = |entry: &'a Entry| {
            let name = At { value: entry.key.clone(), place: entry.key_at.place(self.file) };
            (name, self.below(&entry.node, kind))
        };
        self.entries().iter().map(named).collect()
    }

    /// The items of a list.
    pub fn items(&self) -> Vec<View<'a>> {
        match (self.kind, self.node.map(|node| &node.value)) {
            (Kind::List(kind), Some(Value::List(items))) => items.iter().map(|node| self.below(node, kind)).collect(),
            _ => Vec::new(),
        }
    }

    /// The texts of a list of scalars, each with its place.
    pub fn texts(&self) -> Vec<At<String>> {
        self.items().iter().filter_map(View::maybe_at).collect()
    }

    /// The scalar, or the table's default.
    pub fn raw(&self) -> Option<&'a str> {
        match self.node.map(|node| (&node.value, node.is_nothing())) {
            Some((Value::Scalar { text, .. }, nothing)) if !nothing || matches!(self.kind, Kind::Mask) => Some(text),
            _ => self.default,
        }
    }

    /// The text, if there is one.
    pub fn maybe(&self) -> Option<String> {
        self.raw().map(str::to_owned)
    }

    /// The text; empty when there is none.
    pub fn text(&self) -> String {
        self.maybe().unwrap_or_default()
    }

    /// The text with its place, if there is one.
    pub fn maybe_at(&self) -> Option<At<String>> {
        self.maybe().map(|value| At { value, place: self.place() })
    }

    /// The text with its place; empty when there is none.
    pub fn text_at(&self) -> At<String> {
        At { value: self.text(), place: self.place() }
    }

    /// What a reference or text stands for; itself when the reference leads nowhere, which has been reported.
    pub fn resolved(&self) -> Option<String> {
        let text = self.raw()?;
        Some(self.around.resolve(text, self.kind.takes_files()).unwrap_or_else(|_| text.to_owned()))
    }

    /// The scalar as `read` understands it; when it does not, the default as `read` understands that.
    pub fn parsed<T>(&self, read: impl Fn(&str) -> Option<T>) -> Option<T> {
        self.raw().and_then(&read).or_else(|| self.default.and_then(read))
    }

    /// The tag of a [`Kind::Tagged`], when it is one of this version's words.
    pub fn tag(&self) -> Option<&'static str> {
        let Kind::Tagged(tag, variants) = self.kind else { return None };
        let entry = self.entries().iter().find(|entry| entry.key == *tag)?;
        let Value::Scalar { text, .. } = &entry.node.value else { return None };
        variants.iter().map(|variant| variant.word).find(|w| w.name == text).map(|word| word.name)
    }

    /// Whether this is written as a group of keys.
    pub fn is_map(&self) -> bool {
        matches!(self.node, Some(Node { value: Value::Map(_), .. }))
    }

    fn below(&self, node: &'a Node, kind: &'static Kind) -> View<'a> {
        let kind = match kind {
            Kind::Either(kinds) => kinds.iter().find(|kind| has_form(kind, &node.value)).unwrap_or(kind),
            kind => kind,
        };
        View { node: Some(node), at: node.at, kind, default: None, ..*self }
    }

    fn entries(&self) -> &'a [Entry] {
        match self.node {
            Some(Node { value: Value::Map(entries), .. }) => entries,
            _ => &[],
        }
    }

    fn key(&self, name: &str) -> Option<&'static Key> {
        self.shapes().into_iter().find_map(|shape| shape.key(name))
    }

    fn shapes(&self) -> Vec<&'static Shape> {
        let mut kinds = vec![*self.kind];
        let mut shapes = Vec::new();
        while let Some(kind) = kinds.pop() {
            match kind {
                Kind::Map(shape) => shapes.push(shape),
                Kind::Tagged(_, variants) => {
                    let tag = self.tag();
                    let chosen = variants.iter().filter(|v| tag.is_none_or(|tag| tag == v.word.name));
                    shapes.extend(chosen.map(|variant| variant.shape));
                }
                Kind::Either(alternatives) => kinds.extend(alternatives),
                _ => {}
            }
        }
        shapes
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use proptest::prelude::*;

    use super::super::conform::conform;
    use super::super::read::{calendar, cases, connector, feed, pipeline, register};
    use super::super::{sample, yaml};
    use super::*;

    /// Reads a text as the file of the sample that it came from; only a panic can fail.
    fn read(path: &str, text: &str) {
        let around = Surroundings { dir: Path::new(""), env: &|_| None };
        let kinds = [
            ("connectors/", Kind::Map(&connector::CONNECTOR)),
            ("mappings/registers/", Kind::Map(&register::REGISTER)),
            ("mappings/calendar", Kind::Map(&calendar::CALENDAR)),
            ("pipelines/feeds/", Kind::Map(&feed::FEED)),
            ("pipelines/", Kind::Map(&pipeline::PIPELINE)),
            ("mappings/", cases::CASES),
        ];
        let Some((_, kind)) = kinds.iter().find(|(dir, _)| path.starts_with(dir)) else { return };
        let mut problems = Vec::new();
        let Some(node) = yaml::parse(path, text, &mut problems) else { return };
        conform(path, &node, kind, &around, &mut problems);
        let view = View::root(path, &node, kind, &around);
        match path.split('/').next() {
            Some("connectors") => drop(connector::read("x", view)),
            Some("mappings") if path.contains("registers") => drop(register::read("x", view)),
            Some("mappings") if path.contains("calendar") => drop(calendar::read(view)),
            Some("mappings") => drop(cases::read(view)),
            _ if path.contains("feeds") => drop(feed::read("x", path, view)),
            _ => drop(pipeline::read("x", view)),
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]

        #[test]
        fn whatever_is_written_can_be_read(
            file in 0..sample::FILES.len(),
            at in 0..1_000_usize,
            removed in 0..40_usize,
            inserted in prop::sample::select(vec!["", "\n", " ", ":", ": ", "- ", "[", "]", "{", "}", "'", "\"", "&a ", "*a ", "~", "null", "!x ", "|\n", "#", "企", "\u{0}", "---\n", "<<: ", "? "]),
        ) {
            let (path, text) = sample::FILES[file];
            if path.ends_with(".yaml") {
                let at = at % text.chars().count();
                let edited: String = text.chars().take(at).chain(inserted.chars()).chain(text.chars().skip(at + removed)).collect();
                read(path, &edited);
            }
        }
    }
}
