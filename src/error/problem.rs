//! One problem in the form that every command prints it.

use std::fmt;

use serde::Serialize;

/// How bad a [`Problem`] is. Warnings never change an exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// The definitions cannot be used.
    Error,
    /// They can be used, and a person should look.
    Warning,
}

/// A place in a file. Lines and columns count from 1; columns count characters, not bytes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Place {
    /// Path as the user would type it, relative to the workspace.
    pub file: String,
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
}

impl Place {
    /// The place `line:column` of `file`.
    pub fn new(file: impl Into<String>, line: u32, column: u32) -> Self {
        Self { file: file.into(), line, column }
    }
}

/// Something wrong, for a person: `huiliu explain CODE` has the page.
///
/// The text names objects and kinds, lists valid names and never holds a cell value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// Stable code, `HL` and four digits.
    pub code: &'static str,
    /// Error or warning.
    pub severity: Severity,
    /// One line, lower case, no full stop.
    pub message: String,
    /// Where, when it is in a file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub place: Option<Place>,
    /// What was expected or what is there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// What to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl Problem {
    /// An error with a code and a message.
    pub fn error(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, severity: Severity::Error, message: message.into(), place: None, detail: None, hint: None }
    }

    /// A warning with a code and a message.
    pub fn warning(code: &'static str, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(code, message) }
    }

    /// At this place.
    pub fn at(mut self, place: Place) -> Self {
        self.place = Some(place);
        self
    }

    /// With a detail line.
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    /// With a hint line.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// With "did you mean …?" when one of `valid` is near `given`.
    pub fn did_you_mean<'a>(self, given: &str, valid: impl IntoIterator<Item = &'a str>) -> Self {
        match nearest(given, valid) {
            Some(name) => self.hint(format!("did you mean {name}?")),
            None => self,
        }
    }

    /// Whether this is an error.
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        write!(f, "{word}[{}]: {}", self.code, self.message)?;
        if let Some(p) = &self.place {
            write!(f, "\n  --> {}:{}:{}", p.file, p.line, p.column)?;
        }
        if let Some(detail) = &self.detail {
            write!(f, "\n  Detail: {detail}")?;
        }
        if let Some(hint) = &self.hint {
            write!(f, "\n  Hint: {hint}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problem {}

/// All problems as text, sorted by place, errors and warnings together, a blank line between them.
pub fn render(problems: &[Problem]) -> String {
    let mut sorted: Vec<&Problem> = problems.iter().collect();
    sorted.sort_by(|a, b| a.place.cmp(&b.place).then(a.code.cmp(b.code)));
    sorted.iter().map(|p| format!("{p}\n")).collect::<Vec<_>>().join("\n")
}

/// The valid name nearest to `given`, if one is near enough to be what was meant.
pub fn nearest<'a>(given: &str, valid: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    valid
        .into_iter()
        .map(|name| (strsim::damerau_levenshtein(given, name), name))
        .filter(|(distance, name)| *distance <= 1.max(name.chars().count() / 3))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_reads_as_the_style_guide_shows_it() {
        let p = Problem::error("HL0106", "column \"id_no\" is not in the contract")
            .at(Place::new("mappings/a/b.person.sql", 7, 5))
            .detail("the contract has 姓名, 证件号码")
            .did_you_mean("证件号", ["姓名", "证件号码"]);
        insta::assert_snapshot!(p.to_string(), @r#"
        error[HL0106]: column "id_no" is not in the contract
          --> mappings/a/b.person.sql:7:5
          Detail: the contract has 姓名, 证件号码
          Hint: did you mean 证件号码?
        "#);
    }

    #[test]
    fn a_far_name_is_not_suggested() {
        assert_eq!(nearest("zzz", ["enterprise", "person"]), None);
    }
}
