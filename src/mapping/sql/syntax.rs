//! Which SQL expressions are accepted, and what they are made of.
//!
//! A positive list: what is not named here is refused with its place, so that nothing new in the parser slips in.

use std::collections::BTreeSet;

use datafusion_sql::sqlparser::ast::{CastKind, Expr};

/// The direct operands of an expression; `None` when this kind of expression is not accepted.
///
/// Identifiers and function calls are not handled here: they need names, see [`mod@super::resolve`].
pub(crate) fn operands(expr: &mut Expr) -> Option<Vec<&mut Expr>> {
    Some(match expr {
        Expr::Value(_) | Expr::TypedString(_) | Expr::Interval(_) => vec![],
        Expr::IsFalse(e)
        | Expr::IsNotFalse(e)
        | Expr::IsTrue(e)
        | Expr::IsNotTrue(e)
        | Expr::IsNull(e)
        | Expr::IsNotNull(e)
        | Expr::IsUnknown(e)
        | Expr::IsNotUnknown(e)
        | Expr::Nested(e)
        | Expr::UnaryOp { expr: e, .. }
        | Expr::Extract { expr: e, .. }
        | Expr::Ceil { expr: e, .. }
        | Expr::Floor { expr: e, .. }
        | Expr::Cast { kind: CastKind::Cast | CastKind::DoubleColon, expr: e, array: false, format: None, .. } => {
            vec![e]
        }
        Expr::IsDistinctFrom(a, b)
        | Expr::IsNotDistinctFrom(a, b)
        | Expr::BinaryOp { left: a, right: b, .. }
        | Expr::Like { any: false, expr: a, pattern: b, .. }
        | Expr::ILike { any: false, expr: a, pattern: b, .. }
        | Expr::SimilarTo { expr: a, pattern: b, .. }
        | Expr::Position { expr: a, r#in: b } => vec![a, b],
        Expr::Between { expr, low, high, .. } => vec![expr, low, high],
        Expr::InList { expr, list, .. } => std::iter::once(&mut **expr).chain(list).collect(),
        Expr::Substring { expr, substring_from, substring_for, .. } => {
            std::iter::once(expr).chain(substring_from).chain(substring_for).map(|e| &mut **e).collect()
        }
        Expr::Trim { expr, trim_what, trim_characters: None, .. } => {
            std::iter::once(expr).chain(trim_what).map(|e| &mut **e).collect()
        }
        Expr::Overlay { expr, overlay_what, overlay_from, overlay_for } => {
            [expr, overlay_what, overlay_from].into_iter().chain(overlay_for).map(|e| &mut **e).collect()
        }
        Expr::Case { operand, conditions, else_result, .. } => {
            let branches = conditions.iter_mut().flat_map(|c| [&mut c.condition, &mut c.result]);
            operand
                .iter_mut()
                .map(|e| &mut **e)
                .chain(branches)
                .chain(else_result.iter_mut().map(|e| &mut **e))
                .collect()
        }
        _ => return None,
    })
}

/// The columns whose values can appear in the result: all but those that only choose between branches of a `case`.
pub(crate) fn carried(expr: &Expr, into: &mut BTreeSet<String>) {
    match expr {
        Expr::Identifier(name) => {
            into.insert(name.value.clone());
        }
        Expr::CompoundIdentifier(parts) => into.extend(parts.last().map(|name| name.value.clone())),
        Expr::Function(call) => super::calls::arguments(call).iter().for_each(|e| carried(e, into)),
        Expr::Case { conditions, else_result, .. } => {
            let results = conditions.iter().map(|branch| &branch.result).chain(else_result.as_deref());
            results.for_each(|e| carried(e, into));
        }
        other => {
            let mut copy = other.clone();
            operands(&mut copy).into_iter().flatten().for_each(|e| carried(e, into));
        }
    }
}

/// What to call an expression that is not accepted, and what to do instead.
pub(crate) fn refused(expr: &Expr) -> (&'static str, &'static str) {
    match expr {
        Expr::Subquery(_) | Expr::Exists { .. } | Expr::InSubquery { .. } => {
            ("a subquery", "a mapping sees one row at a time; look codes up with code('table', column)")
        }
        Expr::Cast { kind: CastKind::TryCast | CastKind::SafeCast, .. } => (
            "a cast that silently yields null",
            "declare the column's type in the contract, or say or_null(…) around a conversion, which is counted",
        ),
        Expr::Wildcard(_) | Expr::QualifiedWildcard(..) => ("a wildcard", "name the columns"),
        Expr::Tuple(_) | Expr::Array(_) | Expr::Struct { .. } => ("a value of several parts", "use plain columns"),
        _ => ("this form of expression", "use operators, case, cast and the functions of the manual"),
    }
}
