//! `huiliu scope`: what each grant (授权) releases, masks and withholds, and why.
//!
//! Decides nothing: the answer is that of the release itself, beside the catalogue entry it follows from.

mod against;
mod diff;

pub(super) use diff::scope_text;

use serde::Serialize;

use crate::cli::table::{shown, table, text};
use crate::cli::workspace::definitions;
use crate::cli::{Context, Exit, named};
use crate::config::{Feed, Field, Register, ShareClass, Workspace};
use crate::engine::EngineError;
use crate::share::{FieldDecision, Release, in_force};

/// Arguments of `scope`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    question: Question,
}

#[derive(Debug, clap::Subcommand)]
enum Question {
    /// Say for every field: released, masked how, or withheld and why 共享范围
    Explain {
        /// Only this feed 订阅: housing.enterprise
        #[arg(long, value_name = "NAME")]
        feed: Option<String>,
    },
    /// Say what an edit newly exposes and withdraws: fields and records per subscriber 范围变更
    Diff(diff::Args),
}

/// One grant.
#[derive(Debug, Serialize)]
struct Scope {
    feed: String,
    subscriber: String,
    register: String,
    purpose: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    basis: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    approved: Option<String>,
    from: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    until: Option<String>,
    /// Why nothing is released now, if so.
    #[serde(skip_serializing_if = "Option::is_none")]
    refused: Option<String>,
    /// Row filter.
    #[serde(skip_serializing_if = "Option::is_none")]
    rows: Option<String>,
    /// What becomes of numbers of persons in free text: `mask`, `withhold`, `flag`.
    free_text: &'static str,
    fields: Vec<Decided>,
}

/// One field of the register under one grant.
#[derive(Debug, Serialize)]
struct Decided {
    field: String,
    title: String,
    /// `released`, `masked`, `withheld`.
    decision: &'static str,
    /// How it is masked, or why it is withheld.
    #[serde(skip_serializing_if = "Option::is_none")]
    how: Option<String>,
    /// Whether its text is looked through for numbers of persons that the grant does not cover.
    scanned: bool,
    share: ShareClass,
    level: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    condition: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    basis: Option<String>,
}

/// Prints the scope of one feed or of all.
pub async fn run(args: Args, context: &Context) -> anyhow::Result<Exit> {
    let feed = match args.question {
        Question::Explain { feed } => feed,
        Question::Diff(args) => return diff::run(args, context).await,
    };
    let (workspace, _) = definitions(context)?;
    let feeds: Vec<&Feed> = match &feed {
        Some(name) => vec![named::feed(&workspace, name)?],
        None => workspace.feeds.values().collect(),
    };
    let mut scopes = Vec::with_capacity(feeds.len());
    for feed in feeds {
        scopes.push(scope(&workspace, feed, context)?);
    }
    if context.json {
        context.print_json(&scopes)?;
    } else if scopes.is_empty() {
        context.note("there are no feeds 没有订阅")?;
    } else {
        let all: Vec<String> = scopes.iter().map(text_of).collect();
        context.print(&all.join("\n"))?;
    }
    Ok(Exit::Done)
}

fn scope(workspace: &Workspace, feed: &Feed, context: &Context) -> anyhow::Result<Scope> {
    let register = named::register(workspace, &feed.register.value)?;
    let today = context.clock.today(workspace.installation.zone);
    let release = Release::compile(feed, register, &workspace.codes, today).map_err(EngineError::Definitions)?;
    let scanned: Vec<&str> = release.scanned().collect();
    let decided = release.decisions().iter().filter_map(|(name, decision)| {
        Some(decided(register.field(name)?, decision, scanned.contains(&name.as_str())))
    });
    Ok(Scope {
        feed: feed.name.clone(),
        subscriber: feed.title.clone().unwrap_or_else(|| feed.subscriber.clone()),
        register: register_words(register),
        purpose: feed.purpose.clone(),
        basis: feed.basis.clone(),
        approved: feed.approved.as_ref().map(|approved| {
            let number = approved.number.as_deref().unwrap_or("—");
            format!("{} {} {number}", approved.by, approved.on)
        }),
        from: feed.valid.from.to_string(),
        until: feed.valid.until.map(|day| day.to_string()),
        refused: in_force(feed, today).err().map(|why| why.to_string()),
        rows: feed.rows.as_ref().map(|rows| rows.value.clone()),
        free_text: release.free_text().name(),
        fields: decided.collect(),
    })
}

fn register_words(register: &Register) -> String {
    format!("{} {}", register.title, register.name)
}

fn decided(field: &Field, decision: &FieldDecision, scanned: bool) -> Decided {
    let (decision, how) = match decision {
        FieldDecision::Released => ("released", None),
        FieldDecision::Masked(how) => ("masked", Some(how.to_string())),
        FieldDecision::Withheld(why) => ("withheld", Some(why.to_string())),
    };
    Decided {
        field: field.name.clone(),
        title: field.title.clone(),
        decision,
        how,
        scanned,
        share: field.share,
        level: field.level,
        condition: field.condition.clone(),
        basis: field.basis.clone(),
    }
}

fn text_of(scope: &Scope) -> String {
    let line = |words: &str, value: &str| format!("  {words}: {}\n", shown(value));
    let mut out = format!("{} · {} ← {}\n", scope.feed, shown(&scope.subscriber), shown(&scope.register));
    out += &line("使用目的 purpose", &scope.purpose);
    out += &line("法律依据 basis", scope.basis.as_deref().unwrap_or("—"));
    out += &line("审批 approved", scope.approved.as_deref().unwrap_or("—"));
    out += &line("有效期 valid", &format!("{} – {}", scope.from, scope.until.as_deref().unwrap_or("until revoked")));
    if let Some(why) = &scope.refused {
        out += &line("现在不提供任何数据 releases nothing now", why);
    }
    out += &line("行 rows", scope.rows.as_deref().unwrap_or("every row 全部"));
    let scanned: Vec<&str> = scope.fields.iter().filter(|f| f.scanned).map(|f| f.field.as_str()).collect();
    let free_text = match scope.free_text {
        "withhold" => "文本不提供 withhold",
        "flag" => "仅标记 flag",
        _ => "遮盖 mask",
    };
    let fields = if scanned.is_empty() { "—".to_owned() } else { scanned.join(", ") };
    out += &line("自由文本中的身份证号、手机号 numbers of persons in free text", &format!("{free_text}: {fields}"));
    let columns = [
        text("字段 field"),
        text("名称 title"),
        text("决定 decision"),
        text("方式或原因 how or why"),
        text("共享类型 class"),
        text("级别 level"),
        text("条件与依据 condition, basis"),
    ];
    let rows = scope.fields.iter().map(|field| {
        let decision = match field.decision {
            "released" => "✓ 提供 released",
            "masked" => "◐ 脱敏 masked",
            _ => "✗ 不予 withheld",
        };
        let because: Vec<&str> = [&field.condition, &field.basis].into_iter().flatten().map(String::as_str).collect();
        [
            field.field.clone(),
            field.title.clone(),
            decision.to_owned(),
            field.how.clone().unwrap_or_default(),
            class(field.share).to_owned(),
            field.level.to_string(),
            because.join("; "),
        ]
    });
    out + &table(&columns, rows)
}

/// 共享类型 (国发〔2016〕51号).
fn class(share: ShareClass) -> &'static str {
    match share {
        ShareClass::Unconditional => "无条件共享 unconditional",
        ShareClass::Conditional => "有条件共享 conditional",
        ShareClass::Withheld => "不予共享 withheld",
    }
}
