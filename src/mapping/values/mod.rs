//! Conversions of single values, each with the standard it follows.
//!
//! Decides: what a department's text means, and which repairs are safe. Must not know: SQL, Arrow, rows, databases,
//! the time of day. Guarantees: every function is total on any text, allocates nothing for a value that is already
//! canonical, and reports every repair as a note; cutting blanks off both ends is the only change that is not noted.

mod amount;
mod cert_id;
mod citizen_id;
mod civil;
mod currency;
mod date;
mod identifier;
mod instant;
mod names;
mod number;
mod numerals;
mod org_code;
mod period;
mod phone;
pub mod private_use;
mod region;
mod region_codes;
mod registration_no;
mod text;
mod timestamp;
mod unit;
mod uscc;
mod writing;

#[cfg(test)]
mod anomalies;
#[cfg(test)]
mod vectors;

pub use amount::{Amount, UnitSource, cn_amount, cn_amount_in};
pub use cert_id::{cert_id, cert_id_valid};
pub use citizen_id::{citizen_id, citizen_id_of_15, looks_like_one as is_citizen_id};
pub use date::cn_date;
pub use names::{org_name, person_name};
pub use org_code::{org_code, org_code_valid};
pub use period::cn_period;
pub use phone::phone;
pub use region::region;
pub use registration_no::registration_no;
pub use text::{clean_text, null_token};
pub use timestamp::cn_timestamp;
pub use unit::{Unit, amount_unit};
pub use uscc::{uscc, uscc_valid};

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

fn refuse<T>(code: &'static str) -> Outcome<T> {
    Err(Refusal { code })
}

fn nothing<T>() -> Outcome<T> {
    Ok(Converted { value: None, notes: Notes::new() })
}

fn noted<T>(value: T, notes: Notes) -> Outcome<T> {
    Ok(Converted { value: Some(value), notes })
}

/// Adds a note once.
fn note(notes: &mut Notes, code: &'static str) {
    if !notes.contains(&code) {
        notes.push(code);
    }
}
