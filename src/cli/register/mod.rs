//! `huiliu register`: what the shared databases (基础库) say, since when, and why.
//!
//! Values are data and go to stdout; nothing of them is logged.

mod explain;
mod history;
mod review;

use clap::builder::NonEmptyStringValueParser;
use serde::Serialize;

use super::table::{count, local, number, rfc3339, shown, table, text};
use super::workspace::{Access, open};
use super::{Context, Exit, audit, named, purpose};
use crate::config::{Register, Workspace};
use crate::engine::Engine;
use crate::store::EntityView;

/// Arguments of `register`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    question: Question,
}

#[derive(Debug, clap::Subcommand)]
enum Question {
    /// Count the rows of every register 基础库一览
    List,
    /// Show one entity 查询实体
    Get(Entity),
    /// Find entities by a part of one field 查找
    Find {
        /// Register 基础库: enterprise
        register: String,
        /// Field 字段: name
        field: String,
        /// Text that the field contains
        text: String,
        /// Why; it goes into the audit log, and opens values of level 3 and above 事由
        #[arg(long, value_name = "WHY", value_parser = NonEmptyStringValueParser::new())]
        why: Option<String>,
        /// Show at most so many entities
        #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(i64).range(1..=10_000))]
        limit: i64,
    },
    /// Say where every value of an entity comes from, who else said otherwise, and who receives it 溯源
    Explain {
        #[command(flatten)]
        entity: Entity,
        /// Only this field 字段
        #[arg(long, value_name = "FIELD")]
        field: Option<String>,
    },
    /// Show the earlier states of an entity, newest first 历史
    History(Entity),
    /// Count links that dangle, second certificates and totals that do not add up 核查
    Review {
        /// Register 基础库; all when none is named
        register: Option<String>,
        /// Show at most so many entities of each
        #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(i64).range(0..=10_000))]
        limit: i64,
    },
}

#[derive(Debug, clap::Args)]
struct Entity {
    /// Register 基础库: enterprise
    register: String,
    /// Value of any key (统一社会信用代码, 公民身份号码, …), or #42 for the entity of this number
    key: String,
    /// Why; it goes into the audit log, and opens values of level 3 and above 事由
    #[arg(long, value_name = "WHY", value_parser = NonEmptyStringValueParser::new())]
    why: Option<String>,
}

impl Entity {
    fn asked(&self) -> Asked<'_> {
        Asked { register: &self.register, key: &self.key, why: self.why.as_deref() }
    }
}

/// Whom somebody looks up, and why.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked<'a> {
    pub(super) register: &'a str,
    pub(super) key: &'a str,
    pub(super) why: Option<&'a str>,
}

/// The entity that is asked for. Found or not, the audit log says who looked.
async fn look_up(
    engine: &mut Engine,
    act: &'static str,
    asked: Asked<'_>,
    context: &Context,
) -> anyhow::Result<(Register, EntityView)> {
    let register = named::register(engine.workspace(), asked.register)?.clone();
    let entity = named::entity(engine.store(), &register, asked.key).await;
    let found = entity.as_ref().map_or_else(|_| "nothing".to_owned(), |entity| format!("#{}", entity.id));
    let detail = audit::looked_up(engine, (&register.name, asked.key), &found, asked.why)?;
    audit::note(engine, act, &detail, context).await?;
    Ok((register, entity?))
}

/// Prints where the values of one entity (or one of its fields) come from.
pub(super) async fn explain(
    engine: &mut Engine,
    asked: Asked<'_>,
    field: Option<&str>,
    context: &Context,
) -> anyhow::Result<()> {
    explain::run(engine, asked, field, context).await
}

pub(super) use review::lines_text as review_text;

/// Answers one question.
pub async fn run(args: Args, context: &Context) -> anyhow::Result<Exit> {
    let mut engine = open(context, Access::Read).await?.engine;
    match args.question {
        Question::List => list(&mut engine, context).await?,
        Question::Get(entity) => get(&mut engine, &entity, context).await?,
        Question::Find { register, field, text, why, limit } => {
            let register = named::register(engine.workspace(), &register)?.clone();
            named::field(&register, &field)?;
            let mut found = engine.store().find(&register.name, &field, &text, limit).await?;
            let count = format!("{} found in {field}", found.len());
            let detail = audit::looked_up(&engine, (&register.name, &text), &count, why.as_deref())?;
            audit::note(&mut engine, "register.find", &detail, context).await?;
            let mut hidden = false;
            for entity in &mut found {
                hidden |= hide(&register, why.as_deref(), entity);
            }
            purpose::hint(hidden, context)?;
            print_found(&register, &field, &found, context)?;
            if found.len() as i64 == limit && !context.json {
                context.note(&format!("the first {limit}; --limit shows more"))?;
            }
        }
        Question::Explain { entity, field } => {
            explain::run(&mut engine, entity.asked(), field.as_deref(), context).await?;
        }
        Question::Review { register, limit } => review::run(&mut engine, register.as_deref(), limit, context).await?,
        Question::History(entity) => history::run(&mut engine, entity.asked(), context).await?,
    }
    Ok(Exit::Done)
}

#[derive(Debug, Serialize)]
struct Counted {
    register: String,
    title: String,
    steward: String,
    rows: u64,
    fields: usize,
    keys: Vec<String>,
}

async fn list(engine: &mut Engine, context: &Context) -> anyhow::Result<()> {
    let mut all = Vec::new();
    for register in engine.workspace().registers.clone().into_values() {
        let rows = engine.store().count(&register.name).await?;
        all.push(Counted {
            rows,
            fields: register.fields.len(),
            keys: register.keys.into_iter().map(|key| key.value).collect(),
            register: register.name,
            title: register.title,
            steward: register.steward,
        });
    }
    if context.json {
        return Ok(context.print_json(&all)?);
    }
    let columns = [
        text("基础库 register"),
        text("名称 title"),
        text("责任部门 steward"),
        number("行数 rows"),
        number("字段 fields"),
        text("标识 keys"),
    ];
    let rows = all.into_iter().map(|register| {
        let Counted { register, title, steward, rows, fields, keys } = register;
        [register, title, steward, count(rows), fields.to_string(), keys.join(", ")]
    });
    Ok(context.print(&table(&columns, rows))?)
}

async fn get(engine: &mut Engine, asked: &Entity, context: &Context) -> anyhow::Result<()> {
    let (register, mut entity) = look_up(engine, "register.get", asked.asked(), context).await?;
    let links = engine.follow(&register.bonds.links, value_of(&entity)).await?;
    let hidden = hide(&register, asked.why.as_deref(), &mut entity);
    purpose::hint(hidden, context)?;
    let today = context.clock.today(engine.workspace().installation.zone);
    let expired = review::expired(&register, value_of(&entity), today);
    let deadlines = engine.deadlines(&register, value_of(&entity));
    if context.json {
        let row = Row::new(&register, &entity);
        return Ok(context.print_json(&review::Related { row, links, expired, deadlines })?);
    }
    let mut out = heading(engine.workspace(), &register, &entity);
    let columns = [text("字段 field"), text("名称 title"), text("值 value")];
    let rows = entity
        .fields
        .into_iter()
        .zip(&register.fields)
        .map(|((name, value, _), field)| [name, field.title.clone(), value.unwrap_or_default()]);
    out.push_str(&table(&columns, rows));
    out.push_str(&review::related(&links, &expired, &deadlines));
    Ok(context.print(&out)?)
}

fn value_of(entity: &EntityView) -> impl Fn(&str) -> Option<String> {
    move |name| entity.fields.iter().find(|(field, ..)| field == name).and_then(|(_, value, _)| value.clone())
}

/// Hides what is not shown without a reason.
fn hide(register: &Register, why: Option<&str>, entity: &mut EntityView) -> bool {
    purpose::hide(register, why, entity.fields.iter_mut().map(|(name, value, _)| (name.as_str(), value)))
}

/// One entity for programs.
#[derive(Debug, Serialize)]
struct Row<'a> {
    register: &'a str,
    entity: i64,
    version: i64,
    since: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    merged_from: Option<i64>,
    fields: serde_json::Map<String, serde_json::Value>,
}

impl<'a> Row<'a> {
    fn new(register: &'a Register, entity: &EntityView) -> Self {
        let fields = entity.fields.iter().map(|(name, value, _)| (name.clone(), value.clone().into()));
        Self {
            register: &register.name,
            entity: entity.id,
            version: entity.version,
            since: rfc3339(entity.since),
            merged_from: entity.merged_from,
            fields: fields.collect(),
        }
    }
}

/// One line: which entity, which version, since when.
fn heading(workspace: &Workspace, register: &Register, entity: &EntityView) -> String {
    let since = local(workspace.installation.zone, entity.since);
    let merged = entity.merged_from.map(|from| format!(" · #{from} was merged into it 已合并")).unwrap_or_default();
    format!(
        "{} {} · #{} · 版本 version {} · 自 since {since}{merged}\n",
        shown(&register.title),
        register.name,
        entity.id,
        entity.version
    )
}

fn print_found(register: &Register, field: &str, found: &[EntityView], context: &Context) -> anyhow::Result<()> {
    if context.json {
        let rows: Vec<Row<'_>> = found.iter().map(|entity| Row::new(register, entity)).collect();
        return Ok(context.print_json(&rows)?);
    }
    let mut names: Vec<&str> = register.keys.iter().map(|key| key.value.as_str()).collect();
    if !names.contains(&field) {
        names.push(field);
    }
    let title = |name: &str| register.field(name).map_or_else(String::new, |field| field.title.clone());
    let mut columns = vec![number("实体 entity")];
    columns.extend(names.iter().map(|name| text(&format!("{} {name}", title(name)))));
    let rows = found.iter().map(|entity| {
        let value = |name: &&str| {
            let of_name = entity.fields.iter().find(|(field, ..)| field == name);
            of_name.and_then(|(_, value, _)| value.clone()).unwrap_or_default()
        };
        std::iter::once(format!("#{}", entity.id)).chain(names.iter().map(value)).collect::<Vec<_>>()
    });
    Ok(context.print(&table(&columns, rows))?)
}
