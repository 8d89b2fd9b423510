//! Bad news of a whole command as one error: one problem or many, printed in the one form.

use std::fmt;

use crate::engine::EngineError;
use crate::error::{Problem, page, render};
use crate::store::StoreError;

/// Several problems that stop a command together.
#[derive(Debug)]
pub struct Problems(pub Vec<Problem>);

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(render(&self.0).trim_end())
    }
}

impl std::error::Error for Problems {}

/// The problems inside an error, when that is what it is made of.
pub(super) fn of(error: &anyhow::Error) -> Option<Vec<Problem>> {
    if let Some(Problems(problems)) = error.downcast_ref() {
        return Some(problems.clone());
    }
    if let Some(problem) = error.downcast_ref::<Problem>() {
        return Some(vec![problem.clone()]);
    }
    match error.downcast_ref::<EngineError>() {
        Some(EngineError::Definitions(problems)) => return Some(problems.clone()),
        Some(EngineError::Store(StoreError::Refused(problem))) => return Some(vec![Problem::clone(problem)]),
        _ => {}
    }
    if let Some(StoreError::Refused(problem)) = error.downcast_ref() {
        return Some(vec![Problem::clone(problem)]);
    }
    coded(&error.to_string()).map(|problem| vec![problem])
}

/// A text that begins with a code of ours, as a problem.
fn coded(text: &str) -> Option<Problem> {
    let (code, message) = text.split_once(' ')?;
    let known = page(code).filter(|page| page.code == code)?;
    Some(Problem::error(known.code, message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn problems_are_found_in_every_error_that_carries_them() {
        let problem = || Problem::error("HL0402", "register \"enterprise\" would lose data");
        let refused = || StoreError::Refused(Box::new(problem()));
        let errors = [
            anyhow::Error::from(problem()),
            Problems(vec![problem()]).into(),
            refused().into(),
            EngineError::from(refused()).into(),
            EngineError::Definitions(vec![problem()]).into(),
        ];
        for error in errors {
            assert_eq!(of(&error), Some(vec![problem()]), "{error:?}");
        }
    }

    #[test]
    fn a_text_that_begins_with_a_code_is_a_problem_and_another_is_not() {
        let told = of(&anyhow::anyhow!("HL0810 somebody else works here"));
        assert_eq!(told, Some(vec![Problem::error("HL0810", "somebody else works here")]));
        assert_eq!(of(&anyhow::anyhow!("HL9999 nobody wrote a page")), None);
        assert_eq!(of(&anyhow::anyhow!("the disk is on fire")), None);
    }
}
