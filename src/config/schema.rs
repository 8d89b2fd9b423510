//! The tables as JSON Schema (2020-12), so that editors complete and underline.
//!
//! What a later version brings is left out: an editor should not offer what this version refuses.

use serde_json::{Map, Value, json};

use super::read::{calendar, cases, connector, feed, installation, pipeline, register};
use super::shape::{Key, Kind, Naming, Need, Shape, Word};
use super::units::{ByteSize, Percent, Quota, Rate, span};
use crate::clock::Term;

/// The kinds of definition files that have a schema.
pub const KINDS: [&str; 7] = ["connector", "register", "pipeline", "feed", "installation", "cases", "calendar"];

/// The JSON Schema of one kind; `None` when there is no such kind.
pub fn schema(kind: &str) -> Option<Value> {
    let (title, of) = match kind {
        "connector" => (connector::CONNECTOR.title, of_kind(&Kind::Map(&connector::CONNECTOR))),
        "register" => (register::REGISTER.title, of_kind(&Kind::Map(&register::REGISTER))),
        "pipeline" => (pipeline::PIPELINE.title, of_kind(&Kind::Map(&pipeline::PIPELINE))),
        "feed" => (feed::FEED.title, of_kind(&Kind::Map(&feed::FEED))),
        "installation" => (installation::INSTALLATION.title, of_kind(&Kind::Map(&installation::INSTALLATION))),
        "cases" => ("用例 cases", of_kind(&cases::CASES)),
        "calendar" => (calendar::CALENDAR.title, of_kind(&Kind::Map(&calendar::CALENDAR))),
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
        Kind::Secret(others) => {
            let begins: Vec<&str> = ["env:", "file:"].iter().chain(*others).copied().collect();
            json!({ "type": "string", "pattern": format!("^({})", begins.join("|")) })
        }
        Kind::Text | Kind::Named | Kind::Address => json!({ "type": ["string", "number", "boolean"] }),
        Kind::Mask | Kind::Cell => json!({ "type": ["string", "number", "boolean", "null"] }),
        Kind::Version => json!({ "const": 1 }),
        Kind::Integer(least, most) => json!({ "type": "integer", "minimum": least, "maximum": most }),
        Kind::Boolean => json!({ "type": "boolean" }),
        Kind::Character(false) => written_as("^([ -~\t]|tab)$"),
        Kind::Character(true) => written_as("^([ -~\t]|tab|none)$"),
        Kind::Separator => json!({ "type": "string", "minLength": 1, "maxLength": 16 }),
        Kind::Template | Kind::Pattern => json!({ "type": "string", "minLength": 1 }),
        Kind::Date => json!({ "type": "string", "format": "date", "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}$" }),
        Kind::Instant => json!({ "type": "string", "format": "date-time" }),
        Kind::Span => written_as(span::PATTERN),
        Kind::Term => written_as(Term::PATTERN),
        Kind::Days => written_as(r"^[0-9]{4}-[0-9]{2}-[0-9]{2}( *\.\. *[0-9]{4}-[0-9]{2}-[0-9]{2})?$"),
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
            json!({ "oneOf": variants.iter().map(|v| of_shape(v.shape, Some((tag, &v.word)))).collect::<Vec<_>>() })
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
    let described = words.iter().map(|word| json!({ "const": word.name, "description": word.about }));
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

#[cfg(test)]
mod tests {
    use super::super::conform::conform;
    use super::super::secret::Surroundings;
    use super::super::yaml::{self, Node};
    use super::super::{sample, yaml::Value as Yaml};
    use super::*;

    /// Enough of JSON Schema to judge our own: the first thing that does not fit, with its path.
    fn misfit(schema: &Value, value: &Value, path: &str) -> Option<String> {
        let fail = |why: &str| Some(format!("{path}: {why}"));
        let all = |key: &str| schema[key].as_array().cloned().unwrap_or_default();
        if schema.get("const").is_some_and(|only| only != value) {
            return fail("const");
        }
        for (key, wanted) in [("oneOf", 1..=1), ("anyOf", 1..=usize::MAX)] {
            let fitting = all(key).iter().filter(|one| misfit(one, value, path).is_none()).count();
            if schema.get(key).is_some() && !wanted.contains(&fitting) {
                return fail(key);
            }
        }
        let types = match &schema["type"] {
            Value::String(one) => vec![one.clone()],
            several => several.as_array().into_iter().flatten().filter_map(|t| t.as_str().map(str::to_owned)).collect(),
        };
        let is = |name: &str| match value {
            Value::Null => name == "null",
            Value::Bool(_) => name == "boolean",
            Value::Number(n) => name == "number" || name == "integer" && n.is_u64(),
            Value::String(_) => name == "string",
            Value::Array(_) => name == "array",
            Value::Object(_) => name == "object",
        };
        if !types.is_empty() && !types.iter().any(|name| is(name)) {
            return fail("type");
        }
        if value.as_u64().zip(schema["maximum"].as_u64()).is_some_and(|(n, most)| n > most) {
            return fail("maximum");
        }
        if let Some(object) = value.as_object() {
            if let Some(missing) =
                all("required").iter().find(|key| !object.contains_key(key.as_str().unwrap_or_default()))
            {
                return fail(&format!("required {missing}"));
            }
            for (key, below) in object {
                let rest = &schema["additionalProperties"];
                let schema = schema["properties"].get(key).unwrap_or(rest);
                if schema == &Value::Bool(false) {
                    return fail(&format!("additional {key}"));
                }
                if let Some(found) = misfit(schema, below, &format!("{path}/{key}")) {
                    return Some(found);
                }
            }
        }
        value.as_array().into_iter().flatten().find_map(|item| misfit(&schema["items"], item, &format!("{path}/*")))
    }

    /// The tree as an editor's YAML library sees it.
    fn as_json(node: &Node) -> Value {
        match &node.value {
            _ if node.is_nothing() => Value::Null,
            Yaml::Scalar { text, plain: true } => match serde_json::from_str(text) {
                Ok(value @ (Value::Number(_) | Value::Bool(_))) => value,
                _ => json!(text),
            },
            Yaml::Scalar { text, .. } => json!(text),
            Yaml::List(items) => items.iter().map(as_json).collect(),
            Yaml::Map(entries) => entries.iter().map(|e| (e.key.clone(), as_json(&e.node))).collect(),
            Yaml::Refused => Value::Null,
        }
    }

    fn kind_of(path: &str) -> Option<&'static str> {
        [
            ("connectors/", "connector"),
            ("mappings/registers/", "register"),
            ("mappings/calendar", "calendar"),
            (".cases.yaml", "cases"),
            ("pipelines/feeds/", "feed"),
            ("pipelines/", "pipeline"),
        ]
        .iter()
        .find(|(part, _)| path.contains(part) && path.ends_with(".yaml"))
        .map(|(_, kind)| *kind)
    }

    #[test]
    fn the_examples_fit_their_schemas_and_a_misspelt_key_does_not() {
        let mut kinds = Vec::new();
        for (path, text) in sample::FILES {
            let Some(kind) = kind_of(path) else { continue };
            let schema = schema(kind).expect("a schema");
            let read = |text: &str| as_json(&yaml::parse(path, text, &mut Vec::new()).expect("a tree"));
            assert_eq!(misfit(&schema, &read(text), ""), None, "{path}");
            let misspelt = text
                .replacen("purpose:", "porpuse:", 1)
                .replacen("into:", "unto:", 1)
                .replacen("steward:", "stewart:", 1);
            let misspelt = misspelt
                .replacen("datasets:", "dataset:", 1)
                .replacen("expect:", "expects:", 1)
                .replacen("notice:", "notise:", 1);
            assert!(misfit(&schema, &read(&misspelt), "").is_some(), "{path}");
            kinds.push(kind);
        }
        kinds.sort_unstable();
        assert_eq!(kinds, ["calendar", "cases", "connector", "feed", "pipeline", "register"]);
    }

    #[test]
    fn every_key_says_what_it_is_and_every_default_fits_its_kind() {
        let env = |_: &str| None;
        let around = Surroundings { dir: std::path::Path::new(""), env: &env };
        let mut seen = 0;
        let mut visit = |key: &Key| {
            seen += 1;
            assert!(!key.title.is_empty() && !key.about.is_empty(), "{}", key.name);
            if let Need::Default(text) = key.need {
                let value = Yaml::Scalar { text: text.to_owned(), plain: true };
                let mut problems = Vec::new();
                let node = Node { at: yaml::Mark::START, value };
                conform("table", &node, &key.kind, &around, &mut problems);
                assert_eq!(problems, [], "default of {}", key.name);
            }
        };
        for shape in [
            connector::CONNECTOR,
            register::REGISTER,
            pipeline::PIPELINE,
            feed::FEED,
            installation::INSTALLATION,
            calendar::CALENDAR,
        ] {
            each_key(&Kind::Map(Box::leak(Box::new(shape))), &mut visit);
        }
        each_key(&cases::CASES, &mut visit);
        assert!(seen > 100, "{seen} keys");
    }

    fn each_key(kind: &Kind, visit: &mut impl FnMut(&Key)) {
        match kind {
            Kind::Map(shape) => shape.keys.iter().for_each(|key| {
                visit(key);
                each_key(&key.kind, visit);
            }),
            Kind::Tagged(_, variants) => variants.iter().for_each(|v| each_key(&Kind::Map(v.shape), visit)),
            Kind::Either(kinds) => kinds.iter().for_each(|kind| each_key(kind, visit)),
            Kind::List(kind) | Kind::Each(_, kind) => each_key(kind, visit),
            _ => {}
        }
    }

    #[test]
    fn every_kind_has_a_schema_with_a_title() {
        for kind in KINDS {
            let schema = schema(kind).expect("a schema");
            assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema", "{kind}");
            assert!(schema["title"].as_str().is_some_and(|title| title.contains(kind)), "{kind}");
        }
        assert_eq!(schema("conector"), None);
    }
}
