//! YAML text → a tree in which every key and value knows where it was written.
//!
//! Decides: what YAML is too clever to be reviewed. Refused are anchors, aliases, tags, merge keys, directives,
//! several documents, keys that are not words and keys written twice. Must not know: which keys exist. Guarantees: a
//! tree for any text that can be read at all, bounded in size and depth, so that later checks see as much as possible.
//!
//! The events come from the parser inside serde-saphyr. Its serde side stops at the first error of a file; building
//! the tree ourselves lets `huiliu check` report all of them.

use serde_saphyr::granit_parser::{Event, Parser, ScalarStyle, ScanError, Span, options};

use crate::error::{Place, Problem};

/// Bytes of the largest definition file that is read.
pub(super) const LARGEST: usize = 4 << 20;
/// Levels of nesting; the deepest valid file has seven.
const DEEPEST: usize = 32;

/// One value and where it begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Node {
    /// Where it begins.
    pub at: Mark,
    /// What it is.
    pub value: Value,
}

/// Line and column, from 1, in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark {
    pub line: u32,
    pub column: u32,
}

/// A value. Scalars stay text: what they mean is for the one who knows what is expected there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value {
    /// `plain` is false for quoted and block text.
    Scalar { text: String, plain: bool },
    /// A sequence.
    List(Vec<Node>),
    /// A mapping, in file order, each key once.
    Map(Vec<Entry>),
    /// Something refused; it has been reported.
    Refused,
}

/// One key of a mapping.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub key: String,
    pub key_at: Mark,
    pub node: Node,
}

impl Mark {
    /// The first character of a file.
    pub const START: Self = Self { line: 1, column: 1 };

    fn of(span: &Span) -> Self {
        let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        Self { line: number(span.start.line()), column: number(span.start.col() + 1) }
    }

    /// This mark in `file`.
    pub fn place(self, file: &str) -> Place {
        Place::new(file, self.line, self.column)
    }
}

impl Node {
    /// Whether nothing was written: an empty value, `~` or `null` without quotes.
    pub fn is_nothing(&self) -> bool {
        matches!(&self.value, Value::Scalar { text, plain: true } if matches!(text.as_str(), "" | "~" | "null"))
    }
}

/// Reads one document. `None` when the text is not YAML at all; the problems then say why.
pub(super) fn parse(file: &str, text: &str, problems: &mut Vec<Problem>) -> Option<Node> {
    if text.len() > LARGEST {
        let problem = Problem::error("HL0104", format!("{file} is larger than a definition file can be"));
        problems.push(problem.at(Mark::START.place(file)).detail(format!("at most {} MiB are read", LARGEST >> 20)));
        return None;
    }
    let strict = options! {
        disallow_directives: true,
        emit_unresolved_aliases: true,
        emit_comments: false,
        flow_nesting_limit: DEEPEST,
        block_nesting_limit: DEEPEST,
    };
    let mut tree = Tree { file, problems, open: Vec::new(), root: None, documents: 0 };
    for event in Parser::new_from_str_with_options(text, strict) {
        match event {
            Ok((event, span)) => tree.take(event, Mark::of(&span)),
            Err(error) => {
                tree.unreadable(&error, text);
                return None;
            }
        }
    }
    Some(tree.root.unwrap_or(Node { at: Mark::START, value: Value::Scalar { text: String::new(), plain: true } }))
}

/// A collection whose end has not come yet.
enum Open {
    List { at: Mark, items: Vec<Node> },
    Map { at: Mark, entries: Vec<Entry>, key: Option<Key> },
}

/// A key that waits for its value. The value of a refused key is read and dropped.
struct Key {
    name: String,
    at: Mark,
    refused: bool,
}

struct Tree<'a> {
    file: &'a str,
    problems: &'a mut Vec<Problem>,
    open: Vec<Open>,
    root: Option<Node>,
    documents: usize,
}

impl Tree<'_> {
    fn take(&mut self, event: Event<'_>, at: Mark) {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                self.refuse_clever(anchor != 0, tag.is_some(), at);
                let plain = style == ScalarStyle::Plain;
                self.close(Node { at, value: Value::Scalar { text: text.into_owned(), plain } });
            }
            Event::SequenceStart(_, anchor, tag) => {
                self.refuse_clever(anchor != 0, tag.is_some(), at);
                self.open.push(Open::List { at, items: Vec::new() });
            }
            Event::MappingStart(_, anchor, tag) => {
                self.refuse_clever(anchor != 0, tag.is_some(), at);
                self.open.push(Open::Map { at, entries: Vec::new(), key: None });
            }
            Event::SequenceEnd | Event::MappingEnd => match self.open.pop() {
                Some(Open::List { at, items }) => self.close(Node { at, value: Value::List(items) }),
                Some(Open::Map { at, entries, .. }) => self.close(Node { at, value: Value::Map(entries) }),
                None => {}
            },
            Event::Alias(_) | Event::UnresolvedAlias(_) => {
                self.refuse("an alias (*)", at);
                self.close(Node { at, value: Value::Refused });
            }
            Event::DocumentStart(..) => {
                self.documents += 1;
                if self.documents == 2 {
                    self.refuse("a second document (---)", at);
                }
            }
            _ => {}
        }
    }

    /// A finished value goes to the collection around it: as an item, as a key, or as the value of the waiting key.
    fn close(&mut self, node: Node) {
        match self.open.last_mut() {
            None if self.documents > 1 => {}
            None => self.root = Some(node),
            Some(Open::List { items, .. }) => items.push(node),
            Some(Open::Map { entries, key, .. }) => match key.take() {
                Some(key) if key.refused => {}
                Some(key) => entries.push(Entry { key: key.name, key_at: key.at, node }),
                None => {
                    let earlier = match &node.value {
                        Value::Scalar { text, .. } => entries.iter().find(|e| e.key == *text).map(|e| e.key_at),
                        _ => None,
                    };
                    let admitted = self.admit_key(node, earlier);
                    if let Some(Open::Map { key, .. }) = self.open.last_mut() {
                        *key = Some(admitted);
                    }
                }
            },
        }
    }

    fn admit_key(&mut self, node: Node, earlier: Option<Mark>) -> Key {
        let at = node.at;
        let Value::Scalar { text: name, .. } = node.value else {
            self.refuse("a key that is not a word", at);
            return Key { name: String::new(), at, refused: true };
        };
        if name == "<<" {
            self.refuse("a merge key (<<)", at);
        } else if let Some(first) = earlier {
            let problem = Problem::error("HL0102", format!("key \"{name}\" is written twice"));
            self.problems.push(problem.at(at.place(self.file)).detail(format!("first in line {}", first.line)));
        } else {
            return Key { name, at, refused: false };
        }
        Key { name, at, refused: true }
    }

    fn refuse_clever(&mut self, anchor: bool, tag: bool, at: Mark) {
        if anchor {
            self.refuse("an anchor (&)", at);
        }
        if tag {
            self.refuse("a tag (!)", at);
        }
    }

    fn refuse(&mut self, what: &str, at: Mark) {
        let problem = Problem::error("HL0103", format!("{what} has no place in a definition file"));
        self.problems.push(problem.at(at.place(self.file)).hint("write the value out where it is used"));
    }

    fn unreadable(&mut self, error: &ScanError, text: &str) {
        let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let marker = error.marker();
        let mark = Mark { line: number(marker.line()).max(1), column: number(marker.col() + 1) };
        let tab = error.info().contains("tab").then(|| indenting_tab(text, mark.line)).flatten();
        let problem = Problem::error("HL0101", "this is not YAML").at(tab.unwrap_or(mark).place(self.file));
        self.problems.push(match tab {
            Some(_) => problem.detail("a line is indented with a tab").hint("indent with blanks"),
            None => problem.detail(error.info()),
        });
    }
}

/// The first tab among the blanks that open a line, from line `from` on.
fn indenting_tab(text: &str, from: u32) -> Option<Mark> {
    (1..).zip(text.lines()).skip_while(|(line, _)| *line < from).find_map(|(line, content)| {
        let indentation = content.chars().take_while(|c| *c == ' ' || *c == '\t');
        (1..).zip(indentation).find(|(_, c)| *c == '\t').map(|(column, _)| Mark { line, column })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The codes and places of all problems, and whether there is a tree.
    fn check(text: &str, codes: &[&str]) -> Option<Node> {
        let mut problems = Vec::new();
        let node = parse("x.yaml", text, &mut problems);
        let found: Vec<String> = problems
            .iter()
            .map(|p| p.place.as_ref().map_or(p.code.to_owned(), |at| format!("{} {}:{}", p.code, at.line, at.column)))
            .collect();
        assert_eq!(found, codes, "{text}\n{problems:#?}");
        node
    }

    #[test]
    fn columns_count_characters_and_values_keep_their_text() {
        let node = check("版本: 1\n企业:\n  名称: \"青岛\" # 注释\n  号码: 0532\n  空:\n", &[]).expect("a tree");
        let Value::Map(entries) = &node.value else { panic!("a map") };
        let Value::Map(inner) = &entries[1].node.value else { panic!("a map") };
        assert_eq!(inner[0].node.at, Mark { line: 3, column: 7 });
        assert_eq!(inner[0].node.value, Value::Scalar { text: "青岛".into(), plain: false });
        assert_eq!(inner[1].node.value, Value::Scalar { text: "0532".into(), plain: true });
        assert_eq!(inner[1].key_at, Mark { line: 4, column: 3 });
        assert!(inner[2].node.is_nothing());
    }

    #[test]
    fn clever_yaml_is_refused_with_its_place_and_the_rest_is_still_read() {
        check("a: &x 1\nb: *x\n", &["HL0103 1:7", "HL0103 2:4"]);
        check("b: *nobody\n", &["HL0103 1:4"]);
        check("a: !!int 1\n", &["HL0103 1:10"]);
        check("a: 1\n<<: {b: 1}\n", &["HL0103 2:1"]);
        check("a: 1\n---\nb: 1\n", &["HL0103 2:1"]);
        check("? [a, b]\n: 1\n", &["HL0103 1:3"]);
        check("%YAML 1.2\n---\na: 1\n", &["HL0101 1:1"]);
    }

    #[test]
    fn a_key_written_twice_is_reported_and_the_first_counts() {
        let node = check("a: 1\nb: 2\na: 3\n", &["HL0102 3:1"]).expect("a tree");
        let Value::Map(entries) = node.value else { panic!("a map") };
        assert_eq!(entries.len(), 2);
    }

    #[test]
    fn what_is_not_yaml_says_where() {
        check("a: [1, 2\nb: 1\n", &["HL0101 2:2"]);
        check("a: 1\n\tb: 2\n", &["HL0101 2:1"]);
        check(&"[".repeat(100_000), &["HL0101 1:33"]);
        check(&"a".repeat(LARGEST + 1), &["HL0104 1:1"]);
        assert!(check("", &[]).expect("a tree").is_nothing());
    }
}
