//! A suspended grant (中止共享): since when, why, and which side wanted it.

use serde::Serialize;

/// Which of the two sides of a grant wanted something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    /// The data office 主管方.
    Office,
    /// The subscriber 需求方.
    Subscriber,
}

impl Side {
    /// As it is stored and written.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Office => "office",
            Self::Subscriber => "subscriber",
        }
    }

    /// What is stored; suspensions of before it was asked have nothing there, and were the office's to the best of its own
    /// knowledge: it alone has the command.
    pub(super) fn stored(name: Option<&str>) -> Self {
        if name == Some(Self::Subscriber.name()) { Self::Subscriber } else { Self::Office }
    }
}

/// A grant that somebody has suspended (中止共享).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Suspension {
    /// Since when, microseconds.
    pub at: i64,
    /// Why.
    pub why: String,
    /// Who wanted it.
    pub side: Side,
}
