//! One record element → the wanted cells, of one row or of a row for each of its parts.
//!
//! Decides: the text of an element is all character data and CDATA inside it, elements below included; an element that
//! occurs several times gives its texts joined with `;`; `xsi:nil="true"` is no value, an empty element is empty text.
//! Names are compared without their namespace prefix. Only the five predefined entities and character references
//! are resolved (XML 1.0 §4.6, §4.1); any other reference sets the record aside.

use std::ops::Range;

use quick_xml::XmlVersion;
use quick_xml::escape::resolve_predefined_entity;
use quick_xml::events::{BytesRef, BytesStart, Event};
use quick_xml::reader::Reader;

use super::token::local_name;
use crate::decode::members::Watch;
use crate::decode::paths::Paths;
use crate::decode::{Members, Wanted};

/// Between the texts of a repeated element.
const JOINT: char = ';';
/// Parts of one record that have a row each.
const PARTS: usize = 10_000;

/// Why a record was set aside.
pub(super) type Refused = (&'static str, String);

/// Reads the wanted cells of one record after the other.
pub(super) struct Fields {
    paths: Paths,
    depth: usize,
    /// By slot.
    cells: Vec<Option<String>>,
    each: Option<Each>,
    /// Until somebody asks what the records have.
    watch: Option<Watch>,
}

/// What has a row each.
struct Each {
    node: usize,
    /// By slot: whether it lies within such a part.
    within: Vec<bool>,
    parts: Vec<Part>,
}

/// One of them.
struct Part {
    /// By slot.
    cells: Vec<Option<String>>,
    /// Its place in the record's text.
    place: Range<usize>,
}

impl Fields {
    /// The wanted fields, by path below the record: `a/b`, `a/@id`, `@id`, `.`.
    pub(super) fn new(wanted: &[Wanted], each: Option<&str>, depth: usize) -> Self {
        let names = |path: &str| -> Vec<String> {
            path.split('/').filter(|s| !s.is_empty() && *s != ".").map(str::to_owned).collect()
        };
        let mut all: Vec<_> = wanted.iter().map(|w| names(w.path.as_deref().unwrap_or(&w.name))).collect();
        let each = each.map(names);
        let paths = Paths::new(all.iter().cloned().chain(each.clone()));
        let cells = vec![None; paths.slots()];
        let each = each.map(|path| {
            all.push(path.clone());
            let mut within = vec![false; paths.slots()];
            for (wanted, slot) in all.iter().zip(paths.slot_of()) {
                if let Some(within) = within.get_mut(*slot).filter(|_| wanted.starts_with(&path)) {
                    *within = true;
                }
            }
            let node = path.iter().try_fold(0, |node, name| paths.child(node, name)).unwrap_or_default();
            Each { node, within, parts: Vec::new() }
        });
        let watch = (!wanted.is_empty()).then(Watch::default);
        Self { cells, paths, depth, each, watch }
    }

    /// Where in the record last read the parts lie that have a row each; none if the record is one row.
    pub(super) fn parts(&self) -> impl ExactSizeIterator<Item = Range<usize>> {
        let parts = self.each.as_ref().map_or(&[][..], |each| &each.parts);
        parts.iter().map(|part| part.place.clone())
    }

    /// The rows of the record last read, one at least: for each wanted column its text.
    pub(super) fn rows(&self) -> impl Iterator<Item = impl Iterator<Item = Option<&str>>> {
        (0..self.parts().len().max(1)).map(move |nth| {
            let columns = self.paths.slot_of().iter();
            let last = usize::from(self.each.is_some()); // the parts' own path is wanted by nobody
            columns.take(self.paths.slot_of().len() - last).map(move |slot| self.cell(nth, *slot))
        })
    }

    fn cell(&self, nth: usize, slot: usize) -> Option<&str> {
        let cells = match &self.each {
            Some(each) if each.holds(slot) => &each.parts.get(nth)?.cells,
            _ => &self.cells,
        };
        cells.get(slot)?.as_deref()
    }

    fn cell_mut(&mut self, slot: usize) -> Option<&mut Option<String>> {
        match &mut self.each {
            Some(each) if each.holds(slot) => each.parts.last_mut()?.cells.get_mut(slot),
            _ => self.cells.get_mut(slot),
        }
    }

    /// What the records so far have together; those that follow are not looked at.
    pub(super) fn members(&mut self) -> Option<Members> {
        let wanted = self.paths.slot_of().len() - usize::from(self.each.is_some());
        self.watch.take()?.members(&self.paths, wanted, "/")
    }

    /// Reads a whole element.
    pub(super) fn read(&mut self, record: &str) -> Result<(), Refused> {
        let read = self.read_all(record);
        self.watch.iter_mut().for_each(|watch| watch.end(read.is_ok()));
        read
    }

    fn read_all(&mut self, record: &str) -> Result<(), Refused> {
        self.cells.iter_mut().for_each(|c| *c = None);
        self.each.iter_mut().for_each(|each| each.parts.clear());
        let mut reader = Reader::from_str(record);
        reader.config_mut().expand_empty_elements = true;
        // The node of each open element; `None` off the wanted paths.
        let mut open: Vec<Option<usize>> = Vec::new();
        loop {
            let before = position(&reader);
            let event = reader.read_event();
            match event.map_err(|_| bad(&reader, "not well-formed"))? {
                Event::Start(e) => {
                    let node = match open.last() {
                        None => Some(0),
                        Some(parent) => parent.and_then(|p| self.child(p, local_name(e.name().as_ref()))),
                    };
                    open.push(node);
                    if open.len() > self.depth {
                        return Err(("too_deep", format!("nested deeper than {}", self.depth)));
                    }
                    if let Some(each) = self.each.as_mut().filter(|each| node == Some(each.node)) {
                        if each.parts.len() == PARTS {
                            return Err(("too_many_parts", format!("more than {PARTS} parts that have a row each")));
                        }
                        let cells = vec![None; each.within.len()];
                        each.parts.push(Part { cells, place: before..before });
                    }
                    self.start(node, &e).map_err(|what| bad(&reader, what))?;
                }
                Event::End(_) => {
                    let node = open.pop().flatten();
                    if let Some(each) = self.each.as_mut().filter(|each| node == Some(each.node))
                        && let Some(part) = each.parts.last_mut()
                    {
                        part.place.end = position(&reader);
                    }
                }
                Event::Text(e) => self.text(&open, &e.xml10_content()),
                Event::CData(e) => self.text(&open, &e.xml10_content()),
                Event::GeneralRef(e) => {
                    let mut buffer = [0; 4];
                    let text = reference(&e, &mut buffer).ok_or_else(|| bad(&reader, NOT_PREDEFINED))?;
                    self.text(&open, text);
                }
                Event::Eof => return Ok(()),
                Event::DocType(_) => return Err(bad(&reader, "a document type inside a record")),
                Event::Empty(_) | Event::Comment(_) | Event::PI(_) | Event::Decl(_) => {}
            }
        }
    }

    /// The child of `node` with this name, if it is wanted.
    fn child(&mut self, node: usize, name: &str) -> Option<usize> {
        let child = self.paths.child(node, name);
        if let (None, Some(watch)) = (child, &mut self.watch) {
            watch.stranger(node, name, &self.paths);
        }
        child
    }

    fn start(&mut self, node: Option<usize>, e: &BytesStart<'_>) -> Result<(), &'static str> {
        let Some(node) = node else { return Ok(()) };
        let slot = self.paths.slot(node);
        if let (Some(slot), Some(watch)) = (slot, &mut self.watch) {
            watch.slot(slot);
        }
        let has_attributes = e.name().as_ref().len() < e.len();
        if !has_attributes {
            self.begin(slot);
            return Ok(());
        }
        let mut nil = false;
        for attribute in e.attributes().with_checks(false) {
            let attribute = attribute.map_err(|_| "an attribute is not well-formed")?;
            let name = local_name(attribute.key.as_ref());
            let declares =
                matches!(attribute.key.as_ref(), "xmlns" | "xsi:nil") || attribute.key.as_ref().starts_with("xmlns:");
            let path = format!("@{name}");
            let child = if declares { self.paths.child(node, &path) } else { self.child(node, &path) };
            let wanted = child.and_then(|n| self.paths.slot(n));
            if wanted.is_none() && name != "nil" {
                continue;
            }
            let value = attribute.normalized_value(XmlVersion::Explicit1_0).map_err(|_| NOT_PREDEFINED)?;
            nil |= name == "nil" && matches!(value.as_ref(), "true" | "1");
            if wanted.is_some() {
                if let (Some(slot), Some(watch)) = (wanted, &mut self.watch) {
                    watch.slot(slot);
                }
                self.begin(wanted);
                self.add(wanted, &value);
            }
        }
        if !nil {
            self.begin(slot);
        }
        Ok(())
    }

    /// A value begins: the first, or one more.
    fn begin(&mut self, slot: Option<usize>) {
        match slot.and_then(|slot| self.cell_mut(slot)) {
            Some(Some(before)) => before.push(JOINT),
            Some(cell) => *cell = Some(String::new()),
            None => {}
        }
    }

    fn add(&mut self, slot: Option<usize>, text: &str) {
        if let Some(Some(cell)) = slot.and_then(|slot| self.cell_mut(slot)) {
            cell.push_str(text);
        }
    }

    /// Text belongs to every open element that is wanted.
    fn text(&mut self, open: &[Option<usize>], text: &str) {
        let nearest = open.iter().rposition(|n| n.is_some_and(|n| self.paths.slot(n).is_some()));
        let Some(nearest) = nearest else { return };
        for at in 0..=nearest {
            let slot = open.get(at).copied().flatten().and_then(|n| self.paths.slot(n));
            self.add(slot, text);
        }
    }
}

impl Each {
    fn holds(&self, slot: usize) -> bool {
        self.within.get(slot).copied().unwrap_or(false)
    }
}

fn position(reader: &Reader<&[u8]>) -> usize {
    usize::try_from(reader.buffer_position()).unwrap_or(usize::MAX)
}

const NOT_PREDEFINED: &str = "an entity that is not one of the five predefined ones";

fn reference<'a>(e: &BytesRef<'_>, buffer: &'a mut [u8; 4]) -> Option<&'a str> {
    if e.is_char_ref() {
        let c = e.resolve_char_ref().ok().flatten()?;
        return Some(c.encode_utf8(buffer));
    }
    resolve_predefined_entity(e)
}

fn bad(reader: &Reader<&[u8]>, what: &str) -> Refused {
    ("bad_xml", format!("{what}, at byte {} of the record", reader.buffer_position()))
}
