//! The tables as JSON Schema (2020-12), so that editors complete and underline.
//!
//! What a later version brings is left out: an editor should not offer what this version refuses.

use serde_json::{Map, Value, json};

use super::read::{cases, connector, feed, installation, pipeline, register};
use super::shape::{Key, Kind, Naming, Need, Shape, Word};
use super::units::{ByteSize, Percent, Quota, Rate, span};

/// The kinds of definition files that have a schema.
pub const KINDS: [&str; 6] = ["connector", "register", "pipeline", "feed", "installation", "cases"];

/// The JSON Schema of one kind; `None` when there is no such kind.
pub fn schema(kind: &str) -> Option<Value> {
    let (title, of) = match kind {
        "connector" => (connector::CONNECTOR.title, of_kind(&Kind::Map(&connector::CONNECTOR))),
        "register" => (register::REGISTER.title, of_kind(&Kind::Map(&register::REGISTER))),
        "pipeline" => (pipeline::PIPELINE.title, of_kind(&Kind::Map(&pipeline::PIPELINE))),
        "feed" => (feed::FEED.title, of_kind(&Kind::Map(&feed::FEED))),
        "installation" => (installation::INSTALLATION.title, of_kind(&Kind::Map(&installation::INSTALLATION))),
        "cases" => ("用例 cases", of_kind(&cases::CASES)),
        _ => return None,
    };
    let mut schema = Map::new();
    schema.insert("$schema".to_owned(), json!("https://json-schema.org/draft/2020-12/schema"));
    schema.insert("title".to_owned(), json!(title));
    if let Value::Object(of) = of {
        of.into_iter().for_each(|(key, value)| {
            schema.entry(key).or_insert(value);
        });
    }
    Some(Value::Object(schema))
}

fn of_kind(kind: &Kind) -> Value {
    let written_as = |pattern: &str| json!({ "type": "string", "pattern": pattern });
    match kind {
        // YAML reads 0532 as a number and 2026-03-01 as text; a text key takes both as they are written.
        Kind::Text | Kind::Secret | Kind::Address => json!({ "type": ["string", "number", "boolean"] }),
        Kind::Mask | Kind::Cell => json!({ "type": ["string", "number", "boolean", "null"] }),
        Kind::Version => json!({ "const": 1 }),
        Kind::Integer(least, most) => json!({ "type": "integer", "minimum": least, "maximum": most }),
        Kind::Boolean => json!({ "type": "boolean" }),
        Kind::Character(false) => written_as("^([ -~\t]|tab)$"),
        Kind::Character(true) => written_as("^([ -~\t]|tab|none)$"),
        Kind::Date => json!({ "type": "string", "format": "date", "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}$" }),
        Kind::Instant => json!({ "type": "string", "format": "date-time" }),
        Kind::Span => written_as(span::PATTERN),
        Kind::Percent => written_as(Percent::PATTERN),
        Kind::Bytes => written_as(ByteSize::PATTERN),
        Kind::Rate => written_as(Rate::PATTERN),
        Kind::Quota => written_as(Quota::PATTERN),
        Kind::Cron => written_as(r"^\S+ +\S+ +\S+ +\S+ +\S+ +[^0-9\s]+$"),
        Kind::Zone => json!({ "type": "string" }),
        Kind::Word(words) => of_words(words),
        Kind::List(kind) => json!({ "type": "array", "items": of_kind(kind) }),
        Kind::Each(naming, kind) => {
            json!({ "type": "object", "propertyNames": of_naming(*naming), "additionalProperties": of_kind(kind) })
        }
        Kind::Map(shape) => of_shape(shape, None),
        Kind::Tagged(tag, variants) => {
            let now = variants.iter().filter(|variant| variant.word.later.is_none());
            json!({ "oneOf": now.map(|v| of_shape(v.shape, Some((tag, &v.word)))).collect::<Vec<_>>() })
        }
        Kind::Either(kinds) => {
            let now: Vec<&Kind> = kinds.iter().filter(|kind| !is_all_later(kind)).collect();
            match now.as_slice() {
                [only] => of_kind(only),
                several => json!({ "anyOf": several.iter().map(|kind| of_kind(kind)).collect::<Vec<_>>() }),
            }
        }
    }
}

fn is_all_later(kind: &Kind) -> bool {
    matches!(kind, Kind::Map(shape) if shape.keys.iter().all(|key| key.need == Need::Later))
}

/// Fixed keys; `tag` is the key and word that chose this shape.
fn of_shape(shape: &Shape, tag: Option<(&str, &Word)>) -> Value {
    let mut properties = Map::new();
    let mut required: Vec<&str> = Vec::new();
    if let Some((tag, word)) = tag {
        properties.insert(tag.to_owned(), json!({ "const": word.name, "description": word.about }));
        required.push(tag);
    }
    for key in shape.keys.iter().filter(|key| key.need != Need::Later) {
        properties.insert(key.name.to_owned(), of_key(key));
        if key.need == Need::Required {
            required.push(key.name);
        }
    }
    json!({
        "title": shape.title,
        "description": shape.about,
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": false,
    })
}

/// A key's own title, description and default come before those of what stands under it.
fn of_key(key: &Key) -> Value {
    let mut all = Map::new();
    all.insert("title".to_owned(), json!(key.title));
    all.insert("description".to_owned(), json!(key.about));
    if let Need::Default(text) = key.need {
        all.insert("default".to_owned(), default(&key.kind, text));
    }
    if let Value::Object(of) = of_kind(&key.kind) {
        for (name, value) in of {
            all.entry(name).or_insert(value);
        }
    }
    Value::Object(all)
}

fn default(kind: &Kind, text: &str) -> Value {
    match kind {
        Kind::Integer(..) | Kind::Boolean => serde_json::from_str(text).unwrap_or_else(|_| json!(text)),
        _ => json!(text),
    }
}

fn of_words(words: &[Word]) -> Value {
    let now: Vec<&Word> = words.iter().filter(|word| word.later.is_none()).collect();
    let described = now.iter().map(|word| json!({ "const": word.name, "description": word.about }));
    json!({ "oneOf": described.collect::<Vec<_>>() })
}

/// Nearly the naming rule: editors' regular expressions do not all know letters of every script.
fn of_naming(naming: Naming) -> Value {
    match naming {
        Naming::Plain => json!({ "pattern": r"^[^\s./\\_-][^\s./\\]*$", "maxLength": 63 }),
        Naming::Identifier => json!({ "pattern": r"^[^\s./\\_0-9-][^\s./\\-]*$", "maxLength": 63 }),
        Naming::Foreign => json!({ "minLength": 1 }),
    }
}
