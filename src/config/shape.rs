//! The declarative tables that say what each kind of definition file may contain.
//!
//! One table serves three readers: [`super::conform`] reports what does not fit it, [`super::view`] reads what does
//! (with the table's defaults), [`super::schema()`] prints it as JSON Schema. A key exists because a table names it.

/// What may stand in one place.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    /// Any text.
    Text,
    /// A secret: `env:NAME` or `file:PATH`, or what begins with one of these; never the secret itself.
    Secret(&'static [&'static str]),
    /// Text in which `env:NAME` and `file:PATH` are references: a user, an address that may hold a password.
    Named,
    /// A path or URL in which `env:NAME` is a reference; `file:` stays what it is, a URL.
    Address,
    /// The number 1.
    Version,
    /// A whole number between the two, inclusive.
    Integer(u64, u64),
    /// `true` or `false`.
    Boolean,
    /// One ASCII character or `tab`; `none` too when `true`.
    Character(bool),
    /// One to sixteen characters of any kind, `tab` or `line`.
    Separator,
    /// Text with named gaps, see [`super::Template`].
    Template,
    /// Names of directories and files with wildcards and dates, see [`super::Pattern`].
    Pattern,
    /// `2026-03-01`.
    Date,
    /// `2026-03-01T08:00:00+08:00`.
    Instant,
    /// `10m`.
    Span,
    /// `5 working days`.
    Term,
    /// `2026-02-15..2026-02-23`, or one date.
    Days,
    /// `0.5%`.
    Percent,
    /// `512MiB`.
    Bytes,
    /// `5000 rows/s`.
    Rate,
    /// `200000 records/day`.
    Quota,
    /// Six fields, seconds first.
    Cron,
    /// `Asia/Shanghai`.
    Zone,
    /// The name of a mask or an SQL expression; an unquoted `null` is the mask of that name.
    Mask,
    /// Any scalar or nothing: a cell of an example.
    Cell,
    /// One of these words.
    Word(&'static [Word]),
    /// A list of the same.
    List(&'static Kind),
    /// Names that the writer chooses, each with one of these.
    Each(Naming, &'static Kind),
    /// Fixed keys.
    Map(&'static Shape),
    /// Fixed keys that depend on the word under `tag`.
    Tagged(&'static str, &'static [Variant]),
    /// The first of these that has the form (scalar, list, mapping) of what is written.
    Either(&'static [Kind]),
}

/// How chosen names are spelt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Naming {
    /// Letters and digits of any script, `_` and `-`: names of systems, datasets, flows.
    Plain,
    /// Letters and digits of any script and `_`, at most 63 bytes, not beginning with `_` or a digit: SQL names.
    Identifier,
    /// As somebody else spelt it: names of source columns.
    Foreign,
}

/// A mapping with fixed keys.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shape {
    /// Chinese, then English: `数据集 dataset`.
    pub title: &'static str,
    /// One sentence.
    pub about: &'static str,
    /// The keys, in the order they are best written.
    pub keys: &'static [Key],
}

/// One fixed key.
#[derive(Debug, Clone, Copy)]
pub(super) struct Key {
    pub name: &'static str,
    /// Chinese, then English.
    pub title: &'static str,
    /// One sentence or two.
    pub about: &'static str,
    pub kind: Kind,
    pub need: Need,
}

/// Whether a key must be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Need {
    Required,
    /// Required where none of these keys stands.
    Unless(&'static [&'static str]),
    Optional,
    /// Stands for this text when it is not there.
    Default(&'static str),
    /// Known, and not supported by this version.
    Later,
}

/// One word of a closed list.
#[derive(Debug, Clone, Copy)]
pub(super) struct Word {
    pub name: &'static str,
    pub about: &'static str,
}

/// One alternative of a tagged mapping.
#[derive(Debug, Clone, Copy)]
pub(super) struct Variant {
    pub word: Word,
    pub shape: &'static Shape,
}

impl Key {
    pub const fn required(name: &'static str, title: &'static str, kind: Kind, about: &'static str) -> Self {
        Self { name, title, about, kind, need: Need::Required }
    }

    pub const fn optional(name: &'static str, title: &'static str, kind: Kind, about: &'static str) -> Self {
        Self { name, title, about, kind, need: Need::Optional }
    }

    /// The same key, required where none of these stands.
    pub const fn unless(mut self, others: &'static [&'static str]) -> Self {
        self.need = Need::Unless(others);
        self
    }

    /// The same key, standing for `text` when it is not there.
    pub const fn or(mut self, text: &'static str) -> Self {
        self.need = Need::Default(text);
        self
    }

    /// A key that a later version brings.
    pub const fn later(name: &'static str, title: &'static str) -> Self {
        Self { name, title, about: "Not supported by this version yet.", kind: Kind::Cell, need: Need::Later }
    }
}

impl Word {
    pub const fn now(name: &'static str, about: &'static str) -> Self {
        Self { name, about }
    }
}

impl Shape {
    /// The key of this name.
    pub fn key(&self, name: &str) -> Option<&'static Key> {
        self.keys.iter().find(|key| key.name == name)
    }
}

impl Kind {
    /// Whether `file:PATH` stands for what is in a file.
    pub const fn takes_files(&self) -> bool {
        matches!(self, Self::Secret(_) | Self::Named)
    }

    /// What is expected here, as the end of "expected …".
    pub fn expected(&self) -> String {
        use super::units::{ByteSize, Percent, Quota, Rate, span};
        use crate::clock::Term;
        let fixed = match self {
            Self::Text => "text",
            Self::Secret(_) => "a reference: env:NAME or file:PATH",
            Self::Named => "text, env:NAME or file:PATH",
            Self::Address => "a path or URL",
            Self::Version => "the number 1",
            Self::Integer(least, most) => return format!("a whole number from {least} to {most}"),
            Self::Boolean => "true or false",
            Self::Character(false) => "one ASCII character, or tab",
            Self::Character(true) => "one ASCII character, tab or none",
            Self::Separator => "one to sixteen characters, tab or line",
            Self::Pattern => "names with *, ? and dates such as {yyyyMMdd}",
            Self::Template => "text with named gaps such as 3003{bytes:8}{date:8} or {name}|{rows}",
            Self::Date => "a date such as 2026-03-01",
            Self::Instant => "an instant such as 2026-03-01T08:00:00+08:00",
            Self::Span => span::EXPECTED,
            Self::Term => Term::EXPECTED,
            Self::Days => "a date or a range of dates such as 2026-02-15..2026-02-23",
            Self::Percent => Percent::EXPECTED,
            Self::Bytes => ByteSize::EXPECTED,
            Self::Rate => Rate::EXPECTED,
            Self::Quota => Quota::EXPECTED,
            Self::Cron => "second minute hour day month weekday, such as 0 30 2 * * *",
            Self::Zone => "a time zone such as Asia/Shanghai",
            Self::Mask => "the name of a mask or an SQL expression",
            Self::Cell => "one value",
            Self::Word(words) => return format!("one of {}", names(words)),
            Self::List(_) => "a list",
            Self::Each(..) => "names, each with its definition",
            Self::Map(shape) => return format!("the keys {}", key_names(shape)),
            Self::Tagged(tag, variants) => {
                let words: Vec<Word> = variants.iter().map(|variant| variant.word).collect();
                return format!("the key {tag} (one of {}) and those it brings", names(&words));
            }
            Self::Either(kinds) => {
                return kinds.iter().map(Self::expected).collect::<Vec<_>>().join("; or ");
            }
        };
        fixed.to_owned()
    }
}

/// The words, with commas.
pub(super) fn names(words: &[Word]) -> String {
    words.iter().map(|word| word.name).collect::<Vec<_>>().join(", ")
}

/// The keys that this version supports, with commas.
pub(super) fn key_names(shape: &Shape) -> String {
    shape.keys.iter().filter(|key| key.need != Need::Later).map(|key| key.name).collect::<Vec<_>>().join(", ")
}
