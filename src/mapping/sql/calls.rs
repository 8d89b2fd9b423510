//! Function calls in an expression: which function, with which literals, at which site.

use std::sync::Arc;

use datafusion_sql::sqlparser::ast::{
    Expr, Function as Call, FunctionArg, FunctionArgExpr, FunctionArgumentList, FunctionArguments, Ident, ObjectName,
    Value,
};

use super::conversion::Conversion;
use super::domain::{self, Argument, Function, Lookup, Run};
use super::fallback::Fallback;
use super::resolve::{Resolver, day_literal, listed, row_argument};
use super::sites::{Mode, Site};
use super::standard;
use crate::error::Problem;
use crate::mapping::values::amount_unit;

/// Resolves a call in place.
pub(super) fn call(resolver: &mut Resolver<'_, '_>, expr: &mut Expr, mode: Mode) {
    let Expr::Function(call) = &*expr else { return };
    let (Some(name), Some(arguments)) = (plain_name(call), plain_arguments(call)) else {
        let problem =
            Problem::error("HL0202", format!("this form of call is not accepted in {}", resolver.scope.subject));
        resolver.report(expr, problem.detail("a call is name(value, …): no over, filter, distinct, order by or =>"));
        return;
    };
    let lower = name.value.to_lowercase();
    match lower.as_str() {
        "or_null" => or_null(resolver, expr, &name, arguments),
        "or_default" => or_default(resolver, expr, &name, arguments),
        "current_date" | "today" if arguments.is_empty() => *expr = day_literal(resolver.scope.today),
        _ => match domain::function(&lower) {
            Some(function) => domain_call(resolver, expr, (function, &name), arguments, mode),
            None if standard::function(&lower).is_some() => {
                let arguments = visit_all(resolver, arguments, mode);
                *expr = rebuilt(&name, &lower, arguments);
            }
            None => unknown(resolver, &name, &lower),
        },
    }
}

fn unknown(resolver: &mut Resolver<'_, '_>, name: &Ident, lower: &str) {
    let subject = &resolver.scope.subject;
    let problem = if standard::is_aggregate(lower) {
        Problem::error("HL0202", format!("{lower} needs many rows, {subject} sees one row at a time"))
    } else {
        let names = || domain::names().chain(["or_null", "or_default", "current_date"]).chain(standard::names());
        Problem::error("HL0204", format!("function \"{}\" of {subject} does not exist", name.value))
            .detail(format!("domain functions are {}", listed(domain::names())))
            .did_you_mean(lower, names())
    };
    resolver.report_at(name, problem);
}

fn domain_call(
    resolver: &mut Resolver<'_, '_>,
    expr: &mut Expr,
    (function, name): (&'static Function, &Ident),
    arguments: Vec<Expr>,
    mode: Mode,
) {
    let Some((run, texts)) = bind(resolver, function, name, arguments) else { return };
    let mut texts = visit_all(resolver, texts, mode);
    let unique = format!("{}#{}", function.name, resolver.calls.functions.len());
    let instance = if run.is_sited() {
        if mode == Mode::Refuse && !resolver.scope.may_refuse {
            let message = format!("{} can fail, and {} cannot refuse a row", function.name, resolver.scope.subject);
            let hint = format!("write or_null({}(…)): then a failure is null", function.name);
            resolver.report_at(name, Problem::error("HL0216", message).hint(hint));
        }
        texts.push(row_argument());
        let line = resolver.scope.origin.place(name.span.start).line;
        let site = resolver.calls.site(Site { column: resolver.output.to_owned(), line, mode });
        Conversion::sited(&unique, run, site, &resolver.calls.log)
    } else {
        Conversion::plain(&unique, run)
    };
    resolver.calls.functions.insert(unique.clone(), Arc::new(instance));
    *expr = rebuilt(name, &unique, texts);
}

/// Checks number and literals of the arguments; returns what to run and the arguments that remain.
fn bind(
    resolver: &mut Resolver<'_, '_>,
    function: &'static Function,
    name: &Ident,
    arguments: Vec<Expr>,
) -> Option<(Run, Vec<Expr>)> {
    let needed = function.arguments.iter().filter(|a| !a.is_optional()).count();
    if arguments.len() < needed || arguments.len() > function.arguments.len() {
        let message = format!("{} is written {}", function.name, function.usage);
        let detail = format!("it has {} arguments here", arguments.len());
        resolver.report_at(name, Problem::error("HL0209", message).detail(detail));
        return None;
    }
    let (mut run, mut texts) = (function.run.clone(), Vec::new());
    if let Run::OnDay(_, day) = &mut run {
        *day = resolver.scope.today;
    }
    for (argument, given) in function.arguments.iter().zip(arguments) {
        match argument {
            Argument::Text | Argument::OptionalText => texts.push(given),
            Argument::Table => run = table(resolver, function, &given)?,
            Argument::Unit => run = unit(resolver, function, &given)?,
        }
    }
    Some((run, texts))
}

fn table(resolver: &mut Resolver<'_, '_>, function: &Function, given: &Expr) -> Option<Run> {
    let wanted = literal(resolver, function, given)?;
    if let Some(table) = resolver.scope.codes.get(&wanted) {
        return Some(Run::Code(Some(Arc::new(Lookup::of(table)))));
    }
    let names = || resolver.scope.codes.keys().map(String::as_str);
    let problem = Problem::error("HL0210", format!("code table \"{wanted}\" does not exist"))
        .detail(format!("mappings/codes/ has {}", listed(names())))
        .did_you_mean(&wanted, names());
    resolver.report(given, problem);
    None
}

fn unit(resolver: &mut Resolver<'_, '_>, function: &Function, given: &Expr) -> Option<Run> {
    let wanted = literal(resolver, function, given)?;
    let (Some(unit), Run::Amount(convert, _)) = (amount_unit(&wanted), &function.run) else {
        let problem = Problem::error("HL0209", format!("\"{wanted}\" is not a unit of money"));
        resolver.report(given, problem.detail(format!("{}; units are 元, 万元, 亿元", function.usage)));
        return None;
    };
    Some(Run::Amount(*convert, Some(unit)))
}

fn literal(resolver: &mut Resolver<'_, '_>, function: &Function, given: &Expr) -> Option<String> {
    if let Expr::Value(value) = given
        && let Value::SingleQuotedString(text) = &value.value
    {
        return Some(text.clone());
    }
    let problem = Problem::error("HL0209", format!("{} is written {}", function.name, function.usage));
    resolver.report(given, problem.detail("here stands a text in quotes, so that it can be checked beforehand"));
    None
}

fn or_null(resolver: &mut Resolver<'_, '_>, expr: &mut Expr, name: &Ident, mut arguments: Vec<Expr>) {
    let (Some(mut inner), true) = (arguments.pop(), arguments.is_empty()) else {
        let problem = Problem::error("HL0209", "or_null is written or_null(conversion)");
        return resolver.report_at(name, problem);
    };
    let sites = resolver.calls.sites.len();
    resolver.visit(&mut inner, Mode::Null);
    nothing_to_soften(resolver, name, sites);
    *expr = Expr::Nested(Box::new(inner));
}

fn or_default(resolver: &mut Resolver<'_, '_>, expr: &mut Expr, name: &Ident, arguments: Vec<Expr>) {
    let Ok([mut inner, mut default]) = <[Expr; 2]>::try_from(arguments) else {
        let problem = Problem::error("HL0209", "or_default is written or_default(conversion, value)");
        return resolver.report_at(name, problem);
    };
    let first = resolver.calls.sites.len();
    resolver.visit(&mut inner, Mode::Default);
    nothing_to_soften(resolver, name, first);
    let sites = (first..resolver.calls.sites.len()).filter_map(|s| u32::try_from(s).ok()).collect();
    resolver.visit(&mut default, Mode::Refuse);
    let unique = format!("or_default#{}", resolver.calls.functions.len());
    let instance = Fallback::over(&unique, sites, &resolver.calls.log);
    resolver.calls.functions.insert(unique.clone(), Arc::new(instance));
    *expr = rebuilt(name, &unique, vec![inner, default, row_argument()]);
}

/// `or_null(城市)` promises something that cannot happen; better said than ignored.
fn nothing_to_soften(resolver: &mut Resolver<'_, '_>, name: &Ident, sites_before: usize) {
    if resolver.calls.sites.len() == sites_before && !resolver.has_problems() {
        let problem = Problem::error("HL0215", format!("{} has no conversion inside that could fail", name.value))
            .detail("conversions are domain functions such as cn_date and uscc")
            .hint("for blank cells there are coalesce and nullif");
        resolver.report_at(name, problem);
    }
}

fn visit_all(resolver: &mut Resolver<'_, '_>, mut arguments: Vec<Expr>, mode: Mode) -> Vec<Expr> {
    for argument in &mut arguments {
        resolver.visit(argument, mode);
    }
    arguments
}

fn plain_name(call: &Call) -> Option<Ident> {
    match call.name.0.as_slice() {
        [part] => part.as_ident().cloned(),
        _ => None,
    }
}

/// The argument expressions of a call.
pub(super) fn arguments(call: &Call) -> Vec<Expr> {
    plain_arguments(call).unwrap_or_default()
}

/// The arguments of `name(a, b)` or of a bare `current_date`; `None` when the call has anything more.
fn plain_arguments(call: &Call) -> Option<Vec<Expr>> {
    let bare = call.over.is_none()
        && call.filter.is_none()
        && call.null_treatment.is_none()
        && call.within_group.is_empty()
        && !call.uses_odbc_syntax
        && call.parameters == FunctionArguments::None;
    match &call.args {
        FunctionArguments::None if bare => Some(vec![]),
        FunctionArguments::List(list) if bare && list.duplicate_treatment.is_none() && list.clauses.is_empty() => {
            list.args.iter().map(plain_argument).collect()
        }
        _ => None,
    }
}

fn plain_argument(argument: &FunctionArg) -> Option<Expr> {
    match argument {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr.clone()),
        _ => None,
    }
}

/// `name(arguments)` under another name; the name keeps its place and is quoted so that it is taken literally.
fn rebuilt(written: &Ident, name: &str, arguments: Vec<Expr>) -> Expr {
    let ident = Ident { value: name.to_owned(), quote_style: Some('"'), span: written.span };
    let args = arguments.into_iter().map(|e| FunctionArg::Unnamed(FunctionArgExpr::Expr(e))).collect();
    Expr::Function(Call {
        name: ObjectName::from(vec![ident]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(FunctionArgumentList { duplicate_treatment: None, args, clauses: vec![] }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: vec![],
    })
}
