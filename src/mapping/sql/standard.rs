//! The standard scalar functions that definitions may use, by name.
//!
//! A fixed list, not "whatever DataFusion has": left out are functions whose result differs from run to run (`now`,
//! `random`, `uuid`), that show internals, or that let one value ask for gigabytes (`repeat`).

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use datafusion_expr::ScalarUDF;
use datafusion_expr::planner::ExprPlanner;

#[rustfmt::skip]
const ALLOWED: &[&str] = &[
    // conditional
    "coalesce", "greatest", "least", "nullif", "nvl", "nvl2", "overlay",
    // text
    "ascii", "bit_length", "btrim", "character_length", "chr", "concat", "concat_ws", "contains", "ends_with", "find_in_set",
    "initcap", "left", "levenshtein", "lower", "lpad", "ltrim", "octet_length", "replace", "reverse", "right", "rpad", "rtrim",
    "split_part", "starts_with", "strpos", "substr", "substr_index", "to_hex", "translate", "upper",
    "regexp_count", "regexp_instr", "regexp_like", "regexp_replace",
    // dates
    "date_bin", "date_part", "date_trunc", "from_unixtime", "make_date", "to_char", "to_date", "to_timestamp", "to_unixtime",
    // numbers
    "abs", "ceil", "exp", "floor", "gcd", "isnan", "iszero", "lcm", "ln", "log", "log10", "log2", "nanvl", "power", "round",
    "signum", "sqrt", "trunc",
];

/// Functions that people expect and that have no meaning for one row at a time.
const AGGREGATES: &[&str] = &[
    "array_agg",
    "avg",
    "count",
    "dense_rank",
    "first_value",
    "lag",
    "last_value",
    "lead",
    "max",
    "median",
    "min",
    "rank",
    "row_number",
    "stddev",
    "string_agg",
    "sum",
    "var",
];

static BY_NAME: LazyLock<BTreeMap<String, Arc<ScalarUDF>>> = LazyLock::new(|| {
    let allowed = datafusion_functions::all_default_functions().into_iter().filter(|f| ALLOWED.contains(&f.name()));
    allowed
        .flat_map(|f| {
            let names = std::iter::once(f.name().to_owned()).chain(f.aliases().iter().cloned()).collect::<Vec<_>>();
            names.into_iter().map(move |name| (name, Arc::clone(&f)))
        })
        .collect()
});

static PLANNERS: LazyLock<Vec<Arc<dyn ExprPlanner>>> = LazyLock::new(|| {
    vec![
        Arc::new(datafusion_functions::core::planner::CoreFunctionPlanner::default()),
        Arc::new(datafusion_functions::datetime::planner::DatetimeFunctionPlanner),
        Arc::new(datafusion_functions::unicode::planner::UnicodeFunctionPlanner),
    ]
});

/// The standard function of this lower-case name or alias.
pub(crate) fn function(name: &str) -> Option<Arc<ScalarUDF>> {
    BY_NAME.get(name).cloned()
}

/// All names and aliases.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    BY_NAME.keys().map(String::as_str)
}

/// Whether this name needs more than one row.
pub(crate) fn is_aggregate(name: &str) -> bool {
    AGGREGATES.contains(&name)
}

/// What plans `extract(… from …)`, `substring(…)`, `position(… in …)`.
pub(crate) fn planners() -> &'static [Arc<dyn ExprPlanner>] {
    &PLANNERS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_allowed_function_exists() {
        let missing: Vec<_> = ALLOWED.iter().filter(|name| function(name).is_none()).collect();
        assert!(missing.is_empty(), "{missing:?}");
    }

    #[test]
    fn nothing_depends_on_when_it_runs() {
        for name in ["now", "random", "uuid", "repeat", "arrow_cast"] {
            assert!(function(name).is_none(), "{name}");
        }
    }
}
