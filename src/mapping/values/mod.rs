//! Conversions of single values, each with the standard it follows.
//!
//! Pure functions from text to a value or a [`Refusal`]; repairs are reported, never silent. No SQL, no Arrow here.

/// A conversion refused a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refusal {
    /// Stable snake_case code: `uscc_check_digit`, `date_impossible`, `amount_unit_missing`.
    pub code: &'static str,
}

/// A converted value and the repairs that were needed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Converted<T> {
    /// The value; `None` is "nothing there" (blank, N/A, 无), which is not a failure.
    pub value: Option<T>,
    /// Repairs: `lower_case`, `full_width`, `brackets`, `private_use`, `html_entity`, `upgraded_15`, …
    pub notes: Notes,
}

/// A small set of repair codes.
pub type Notes = Vec<&'static str>;

/// What every conversion returns.
pub type Outcome<T> = Result<Converted<T>, Refusal>;
