//! A resolved expression → a DataFusion expression of the wanted type, ready to run on batches.
//!
//! DataFusion is used without its session and catalogue: names are already resolved, there is one flat schema, and
//! only standard functions and this mapping's own calls can be found.

use std::sync::{Arc, LazyLock};

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion_common::config::ConfigOptions;
use datafusion_common::tree_node::{Transformed, TreeNode};
use datafusion_common::{DFSchema, DFSchemaRef, Result, TableReference, plan_err};
use datafusion_expr::execution_props::ExecutionProps;
use datafusion_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion_expr::planner::{ContextProvider, ExprPlanner};
use datafusion_expr::simplify::SimplifyContext;
use datafusion_expr::{AggregateUDF, Expr, ExprSchemable, HigherOrderUDF, Operator, ScalarUDF, TableSource, WindowUDF};
use datafusion_optimizer::simplify_expressions::ExprSimplifier;
use datafusion_physical_expr::expressions::BinaryExpr;
use datafusion_physical_expr::{PhysicalExpr, create_physical_expr};
use datafusion_sql::planner::{ParserOptions, PlannerContext, SqlToRel};
use datafusion_sql::sqlparser::ast::Expr as SqlExpr;

use super::lazy::make_lazy;
use super::resolve::{Calls, Resolved, Scope};
use super::room::with_room;
use super::sites::ROW;
use super::{standard, syntax};
use crate::error::Problem;
use crate::record::{DECIMAL_PRECISION, DECIMAL_SCALE, FieldType};

/// What an expression must yield.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Wanted<'a> {
    /// Values of a field.
    Field(&'a str, FieldType),
    /// Truth values.
    Truth,
    /// Values of any type that a field can have.
    Any,
}

/// An expression that can be evaluated on batches of one schema.
#[derive(Debug, Clone)]
pub(crate) struct Planned {
    /// To evaluate.
    pub(crate) physical: Arc<dyn PhysicalExpr>,
    /// What it yields.
    pub(crate) kind: FieldType,
}

/// The schema that expressions over these columns are planned for: the columns, then the hidden row column.
pub(crate) fn schema<'a>(columns: impl IntoIterator<Item = (&'a str, FieldType)>) -> SchemaRef {
    let fields = columns.into_iter().map(|(name, kind)| Field::new(name, kind.arrow(), true));
    Arc::new(Schema::new(fields.chain([Field::new(ROW, DataType::UInt64, false)]).collect::<Vec<_>>()))
}

/// Plans one resolved expression for batches of this schema.
///
/// # Errors
/// What does not fit, at the smallest part that fails by itself.
pub(crate) fn plan(
    scope: &Scope<'_>,
    calls: &Calls,
    schema: &SchemaRef,
    resolved: &Resolved,
    wanted: Wanted<'_>,
) -> std::result::Result<Planned, Box<Problem>> {
    let planned = with_room(|| plan_here(scope, calls, schema, resolved, wanted));
    planned.unwrap_or_else(|| Err(Box::new(unplannable(scope, resolved, "the planner broke down; please report this"))))
}

fn plan_here(
    scope: &Scope<'_>,
    calls: &Calls,
    schema: &SchemaRef,
    resolved: &Resolved,
    wanted: Wanted<'_>,
) -> std::result::Result<Planned, Box<Problem>> {
    let planner = Planner::new(calls, schema).map_err(|e| unplannable(scope, resolved, &e.strip_backtrace()))?;
    let logical = planner.logical(&resolved.expr).map_err(|e| {
        let culprit = planner.culprit(&resolved.expr);
        let problem = unplannable(scope, resolved, &e.strip_backtrace());
        match culprit {
            Some(expr) => problem.at(scope.origin.of(&expr)),
            None => problem,
        }
    })?;
    let found = logical.get_type(&planner.schema).map_err(|e| unplannable(scope, resolved, &e.strip_backtrace()))?;
    let kind = accepted(&found, wanted).map_err(|hint| {
        let what = match wanted {
            Wanted::Field(name, kind) => format!("\"{name}\" of {} must be {kind}", scope.subject),
            Wanted::Truth => format!("{} must be a condition", scope.subject),
            Wanted::Any => format!("{} must be a plain value", scope.subject),
        };
        let code = if matches!(wanted, Wanted::Truth) { "HL0217" } else { "HL0211" };
        let problem = Problem::error(code, what).at(resolved.place.clone());
        let problem = problem.detail(format!("{} is {}", shortened(&resolved.text), plain_name(&found)));
        if hint.is_empty() { problem } else { problem.hint(hint) }
    })?;
    let physical = planner.physical(logical, &kind.arrow());
    let physical = physical.map_err(|e| unplannable(scope, resolved, &e.strip_backtrace()))?;
    Ok(Planned { physical, kind })
}

fn unplannable(scope: &Scope<'_>, resolved: &Resolved, message: &str) -> Problem {
    let reason = message.lines().next().unwrap_or_default();
    let reason = reason.strip_prefix("Error during planning: ").unwrap_or(reason);
    Problem::error("HL0212", format!("an expression of {} does not fit its values", scope.subject))
        .at(resolved.place.clone())
        .detail(format!("in {}: {reason}", shortened(&resolved.text)))
}

fn shortened(text: &str) -> String {
    if text.chars().count() <= 60 { text.to_owned() } else { text.chars().take(57).chain("…".chars()).collect() }
}

/// The field type that a column of this Arrow type becomes, or why not.
fn accepted(found: &DataType, wanted: Wanted<'_>) -> std::result::Result<FieldType, &'static str> {
    let natural = match found {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => Some(FieldType::Text),
        DataType::Date32 => Some(FieldType::Date),
        DataType::Boolean => Some(FieldType::Boolean),
        DataType::Timestamp(_, Some(_)) => Some(FieldType::Timestamp),
        DataType::Decimal32(..) | DataType::Decimal64(..) | DataType::Decimal128(..) => Some(FieldType::Decimal),
        kind if kind.is_integer() => Some(FieldType::Integer),
        _ => None,
    };
    let target = match wanted {
        Wanted::Field(_, kind) => kind,
        Wanted::Truth => FieldType::Boolean,
        Wanted::Any if found.is_null() => FieldType::Text,
        Wanted::Any => natural.ok_or("cast it to a type that a field can have")?,
    };
    let exact_decimal = match found {
        DataType::Decimal32(p, s) | DataType::Decimal64(p, s) | DataType::Decimal128(p, s) => {
            *s <= DECIMAL_SCALE
                && i16::from(*p) - i16::from(*s) <= i16::from(DECIMAL_PRECISION) - i16::from(DECIMAL_SCALE)
        }
        _ => true,
    };
    match (natural, target) {
        _ if found.is_null() => Ok(target),
        (Some(FieldType::Decimal), FieldType::Decimal) if !exact_decimal => {
            Err("say how to round: cast(… as decimal(24, 4))")
        }
        (Some(kind), _) if kind == target => Ok(target),
        (Some(FieldType::Integer), FieldType::Decimal) => Ok(target),
        (_, FieldType::Text) => Err("cast(… as varchar) makes text of it"),
        (Some(FieldType::Text), FieldType::Date) => Err("cn_date(…) reads dates"),
        (Some(FieldType::Text), FieldType::Timestamp) => Err("cn_timestamp(…) reads instants"),
        (Some(FieldType::Text), FieldType::Decimal) => Err("cn_amount(…, '元') reads amounts"),
        (_, FieldType::Timestamp) => Err("an instant needs a zone: cn_timestamp(…) reads one"),
        (None, FieldType::Decimal | FieldType::Integer) => Err("say how to round: cast(… as decimal(24, 4)) or bigint"),
        _ => Err(""),
    }
}

/// An Arrow type in the words of field types, where there is one.
fn plain_name(kind: &DataType) -> String {
    match kind {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "text".to_owned(),
        DataType::Date32 => "date".to_owned(),
        DataType::Boolean => "boolean".to_owned(),
        DataType::Timestamp(_, Some(_)) => "timestamp".to_owned(),
        DataType::Timestamp(_, None) => "timestamp without zone".to_owned(),
        DataType::Decimal128(p, s) => format!("decimal({p}, {s})"),
        kind if kind.is_integer() => "integer".to_owned(),
        kind if kind.is_floating() => "inexact number".to_owned(),
        other => other.to_string(),
    }
}

/// Arithmetic that fails where integers overflow; DataFusion would wrap around silently.
fn checked(expr: Arc<dyn PhysicalExpr>) -> Result<Arc<dyn PhysicalExpr>> {
    expr.transform_up(|node| match node.downcast_ref::<BinaryExpr>() {
        Some(binary) if matches!(binary.op(), Operator::Plus | Operator::Minus | Operator::Multiply) => {
            let checked = binary.clone().with_fail_on_overflow(true);
            Ok(Transformed::yes(Arc::new(checked) as Arc<dyn PhysicalExpr>))
        }
        _ => Ok(Transformed::no(node)),
    })
    .map(|t| t.data)
}

struct Planner<'a> {
    names: Names<'a>,
    schema: DFSchemaRef,
}

impl<'a> Planner<'a> {
    fn new(calls: &'a Calls, schema: &SchemaRef) -> Result<Self> {
        let schema = Arc::new(DFSchema::try_from(schema.as_ref().clone())?);
        Ok(Self { names: Names { calls }, schema })
    }

    fn logical(&self, expr: &SqlExpr) -> Result<Expr> {
        let options = ParserOptions::new()
            .with_enable_ident_normalization(false)
            .with_parse_float_as_decimal(true)
            .with_map_string_types_to_utf8view(false);
        let planner = SqlToRel::new_with_options(&self.names, options);
        let expr = planner.sql_to_expr(expr.clone(), &self.schema, &mut PlannerContext::new())?;
        self.simplifier().coerce(expr, &self.schema)
    }

    fn physical(&self, logical: Expr, kind: &DataType) -> Result<Arc<dyn PhysicalExpr>> {
        let exact =
            if logical.get_type(&self.schema)? == *kind { logical } else { logical.cast_to(kind, &self.schema)? };
        let simple = self.simplifier().simplify(exact)?;
        let simple = self.simplifier().coerce(simple, &self.schema)?;
        let context = PhysicalPlanningContext::default();
        let physical = create_physical_expr(&simple, &self.schema, &ExecutionProps::new(), &context)?;
        make_lazy(checked(physical)?)
    }

    fn simplifier(&self) -> ExprSimplifier {
        ExprSimplifier::new(SimplifyContext::builder().with_schema(Arc::clone(&self.schema)).build())
    }

    /// The smallest part of a failing expression that fails by itself.
    fn culprit(&self, expr: &SqlExpr) -> Option<SqlExpr> {
        let mut copy = expr.clone();
        let operands: Vec<SqlExpr> = match &mut copy {
            SqlExpr::Function(call) => super::calls::arguments(call),
            other => syntax::operands(other)?.into_iter().map(|e| e.clone()).collect(),
        };
        let failing = operands.iter().find(|operand| self.logical(operand).is_err());
        Some(failing.map_or_else(|| expr.clone(), |operand| self.culprit(operand).unwrap_or_else(|| operand.clone())))
    }
}

/// What DataFusion may find by name.
struct Names<'a> {
    calls: &'a Calls,
}

static OPTIONS: LazyLock<ConfigOptions> = LazyLock::new(ConfigOptions::default);

impl ContextProvider for Names<'_> {
    fn get_table_source(&self, name: TableReference) -> Result<Arc<dyn TableSource>> {
        plan_err!("there is no table {name} here")
    }

    fn get_expr_planners(&self) -> &[Arc<dyn ExprPlanner>] {
        standard::planners()
    }

    fn get_function_meta(&self, name: &str) -> Option<Arc<ScalarUDF>> {
        self.calls.functions.get(name).cloned().or_else(|| standard::function(name))
    }

    fn get_higher_order_meta(&self, _: &str) -> Option<Arc<HigherOrderUDF>> {
        None
    }

    fn get_aggregate_meta(&self, _: &str) -> Option<Arc<AggregateUDF>> {
        None
    }

    fn get_window_meta(&self, _: &str) -> Option<Arc<WindowUDF>> {
        None
    }

    fn get_variable_type(&self, _: &[String]) -> Option<DataType> {
        None
    }

    fn options(&self) -> &ConfigOptions {
        &OPTIONS
    }

    fn udf_names(&self) -> Vec<String> {
        standard::names().map(str::to_owned).collect()
    }

    fn higher_order_function_names(&self) -> Vec<String> {
        vec![]
    }

    fn udaf_names(&self) -> Vec<String> {
        vec![]
    }

    fn udwf_names(&self) -> Vec<String> {
        vec![]
    }
}
