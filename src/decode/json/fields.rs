//! One JSON object → the wanted cells, as written.
//!
//! Numbers keep every digit they were written with (a 20-digit number never becomes a float), `null` is no value,
//! objects and arrays are compact JSON text, text is unescaped (RFC 8259).

use std::borrow::Cow;
use std::fmt;

use serde::Deserializer;
use serde::de::{DeserializeSeed, Error as _, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::decode::chunk::Chunk;
use crate::decode::members::Watch;
use crate::decode::paths::Paths;
use crate::decode::{Members, RowPlace, Wanted};

/// Why a record was set aside.
type Refused = (&'static str, String);

/// Reads the wanted cells of one object after the other.
pub(in crate::decode) struct Fields {
    paths: Paths,
    depth: usize,
    /// Until somebody asks what the records have.
    watch: Option<Watch>,
}

/// The wanted fields: a path is split at dots, a column without one is found under its own name, dots and all.
pub(in crate::decode) fn fields_of(wanted: &[Wanted], depth: usize) -> Fields {
    let path = |w: &Wanted| match &w.path {
        Some(path) => path.split('.').map(str::to_owned).collect(),
        None => vec![w.name.clone()],
    };
    let watch = (!wanted.is_empty()).then(Watch::default);
    Fields { paths: Paths::new(wanted.iter().map(path)), depth, watch }
}

impl Fields {
    /// Adds the row `text`, or sets it aside: `bad_json`, `too_deep`, `nul_byte`.
    pub(in crate::decode) fn take(&mut self, text: &str, chunk: &mut Chunk, place: RowPlace, raw: &[u8]) {
        let mut watch = self.watch.take();
        let read = self.read(text, watch.as_mut());
        watch.iter_mut().for_each(|watch| watch.end(read.is_ok()));
        self.watch = watch;
        match read {
            Ok(cells) => {
                for (column, slot) in self.paths.slot_of().iter().enumerate() {
                    chunk.cell(column, cells.get(*slot).and_then(Option::as_deref));
                }
                chunk.end_row(place, raw);
            }
            Err((code, detail)) => chunk.set_aside(place, raw, code, detail),
        }
    }

    /// What the records so far have together; those that follow are not looked at.
    pub(in crate::decode) fn members(&mut self) -> Option<Members> {
        self.watch.take()?.members(&self.paths, self.paths.slot_of().len(), ".")
    }

    fn read<'a>(&self, text: &'a str, mut watch: Option<&mut Watch>) -> Result<Vec<Option<Cow<'a, str>>>, Refused> {
        if deeper_than(text, self.depth) {
            return Err(("too_deep", format!("nested deeper than {}", self.depth)));
        }
        if !text.starts_with('{') {
            return Err(("bad_json", "the record is not an object".to_owned()));
        }
        let mut found = vec![None; self.paths.slots()];
        let mut json = serde_json::Deserializer::from_str(text);
        let object = Object { paths: &self.paths, node: 0, found: &mut found, watch: watch.as_deref_mut() };
        object.deserialize(&mut json).and_then(|()| json.end()).map_err(|e| ("bad_json", fault(&e)))?;
        if let Some(watch) = watch {
            found.iter().enumerate().filter(|(_, raw)| raw.is_some()).for_each(|(slot, _)| watch.slot(slot));
        }
        let cells: Vec<Option<Cow<'a, str>>> = found
            .into_iter()
            .map(|raw: Option<&RawValue>| raw.map_or(Ok(None), cell))
            .collect::<Result<_, _>>()
            .map_err(|e| ("bad_json", fault(&e)))?;
        match cells.iter().flatten().any(|c| c.contains('\0')) {
            true => Err(("nul_byte", "a text contains an escaped NUL".to_owned())),
            false => Ok(cells),
        }
    }
}

/// What is wrong, without the text that is: serde_json's own messages can quote it.
fn fault(e: &serde_json::Error) -> String {
    use serde_json::error::Category;
    let what = match e.classify() {
        Category::Eof => "ends too early",
        Category::Data => "a name stands twice in one object, or a value is not what it should be",
        Category::Syntax | Category::Io => "not JSON",
    };
    format!("{what}, at character {} of the record's line {}", e.column(), e.line())
}

fn cell(raw: &RawValue) -> Result<Option<Cow<'_, str>>, serde_json::Error> {
    let text = raw.get();
    match text.as_bytes().first() {
        Some(b'n') => Ok(None),
        Some(b'"') => match text.get(1..text.len().saturating_sub(1)).filter(|t| !t.contains('\\')) {
            Some(plain) => Ok(Some(Cow::Borrowed(plain))),
            None => serde_json::from_str::<String>(text).map(|s| Some(Cow::Owned(s))),
        },
        Some(b'{' | b'[') => Ok(Some(Cow::Owned(compact(text)))),
        _ => Ok(Some(Cow::Borrowed(text))),
    }
}

/// Valid JSON without the white space between its tokens.
fn compact(json: &str) -> String {
    let mut in_text = false;
    let mut escaped = false;
    let keep = |c: &char| {
        let blank = !in_text && matches!(c, ' ' | '\t' | '\n' | '\r');
        if in_text {
            (escaped, in_text) = (!escaped && *c == '\\', escaped || *c != '"');
        } else {
            in_text = *c == '"';
        }
        !blank
    };
    json.chars().filter(keep).collect()
}

/// Whether brackets nest deeper than `limit`. serde_json itself stops at 128.
fn deeper_than(json: &str, limit: usize) -> bool {
    let (mut depth, mut in_text, mut escaped) = (0usize, false, false);
    json.bytes().any(|b| {
        if in_text {
            (escaped, in_text) = (!escaped && b == b'\\', escaped || b != b'"');
            return false;
        }
        match b {
            b'"' => in_text = true,
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        depth > limit
    })
}

/// Walks one object along the wanted paths.
struct Object<'p, 'f, 'a> {
    paths: &'p Paths,
    node: usize,
    found: &'f mut Vec<Option<&'a RawValue>>,
    watch: Option<&'f mut Watch>,
}

impl<'de> DeserializeSeed<'de> for Object<'_, '_, 'de> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Object<'_, '_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        let (paths, node) = (self.paths, self.node);
        while let Some(child) = map.next_key_seed(Name { paths, node, watch: self.watch.as_deref_mut() })? {
            let Some(child) = child else {
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            let raw: &'de RawValue = map.next_value()?;
            if let Some(slot) = self.paths.slot(child).and_then(|slot| self.found.get_mut(slot))
                && slot.replace(raw).is_some()
            {
                return Err(A::Error::custom("a name twice"));
            }
            if self.paths.has_children(child) && raw.get().starts_with('{') {
                let below = Object { paths, node: child, found: &mut *self.found, watch: self.watch.as_deref_mut() };
                let mut json = serde_json::Deserializer::from_str(raw.get());
                below.deserialize(&mut json).map_err(A::Error::custom)?;
            }
        }
        Ok(())
    }
}

/// A name in an object → the node of a wanted path.
struct Name<'p, 'w> {
    paths: &'p Paths,
    node: usize,
    watch: Option<&'w mut Watch>,
}

impl<'de> DeserializeSeed<'de> for Name<'_, '_> {
    type Value = Option<usize>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Option<usize>, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Name<'_, '_> {
    type Value = Option<usize>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E>(self, name: &str) -> Result<Option<usize>, E> {
        let child = self.paths.child(self.node, name);
        if let (None, Some(watch)) = (child, self.watch) {
            watch.stranger(self.node, name, self.paths);
        }
        Ok(child)
    }
}
