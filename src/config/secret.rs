//! References to secrets in definition files: `env:COMMERCE_PASSWORD`, `file:/run/secrets/x`.
//!
//! Decides: what a reference is and what it stands for. Guarantees: files are parsed first and substituted after, so
//! that a secret can never change what a file means; no message contains what a reference stands for.

use std::path::Path;

use crate::error::Problem;

/// What lies around the definitions: where they are and which environment variables are set.
pub(super) struct Surroundings<'a> {
    /// The workspace; relative `file:` references start here.
    pub dir: &'a Path,
    /// Environment variables by name.
    pub env: &'a dyn Fn(&str) -> Option<String>,
}

impl Surroundings<'_> {
    /// What `text` stands for: itself, the variable it names, or (when `files` are allowed) the content of a file
    /// without its last line break.
    pub fn resolve(&self, text: &str, files: bool) -> Result<String, Box<Problem>> {
        if let Some(name) = text.strip_prefix("env:") {
            return (self.env)(name).filter(|value| !value.is_empty()).ok_or_else(|| {
                let problem = Problem::error("HL0118", format!("environment variable {name} is not set"));
                Box::new(problem.hint("set it for the process that runs huiliu; its value is never printed"))
            });
        }
        match text.strip_prefix("file:").filter(|_| files) {
            None => Ok(text.to_owned()),
            Some(path) => self.read(path),
        }
    }

    fn read(&self, path: &str) -> Result<String, Box<Problem>> {
        let content = std::fs::read_to_string(self.dir.join(path)).map_err(|error| {
            let problem = Problem::error("HL0119", format!("secret file {path} cannot be read"));
            Box::new(problem.detail(error.kind().to_string()))
        })?;
        let value = content.trim_end_matches(['\r', '\n']);
        if value.is_empty() {
            return Err(Box::new(Problem::error("HL0119", format!("secret file {path} is empty"))));
        }
        Ok(value.to_owned())
    }
}

/// Whether a problem is a reference that leads nowhere.
pub(super) fn is_unset(problem: &Problem) -> bool {
    matches!(problem.code, "HL0118" | "HL0119")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(text: &str, files: bool) -> Result<String, (&'static str, String)> {
        let dir = tempfile::tempdir().expect("a directory");
        std::fs::write(dir.path().join("password"), "top secret\n").expect("written");
        std::fs::write(dir.path().join("empty"), "\n").expect("written");
        let env = |name: &str| match name {
            "SET" => Some("from outside".to_owned()),
            "EMPTY" => Some(String::new()),
            _ => None,
        };
        Surroundings { dir: dir.path(), env: &env }.resolve(text, files).map_err(|p| (p.code, p.to_string()))
    }

    #[test]
    fn references_stand_for_what_they_name() {
        assert_eq!(resolve("plain", true).as_deref(), Ok("plain"));
        assert_eq!(resolve("env:SET", false).as_deref(), Ok("from outside"));
        assert_eq!(resolve("file:password", true).as_deref(), Ok("top secret"));
        assert_eq!(resolve("file:///srv/out", false).as_deref(), Ok("file:///srv/out"));
    }

    #[test]
    fn a_reference_to_nothing_is_a_problem_of_its_own() {
        for (text, code) in
            [("env:UNSET", "HL0118"), ("env:EMPTY", "HL0118"), ("file:nowhere", "HL0119"), ("file:empty", "HL0119")]
        {
            assert_eq!(resolve(text, true).map_err(|(code, _)| code), Err(code), "{text:?}");
        }
    }
}
