//! What a broker can answer, sorted by who mends it.

use lapin::ErrorKind;

use crate::error::Problem;

/// What went wrong with a broker.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BrokerError {
    /// The address is none.
    #[error("the broker's address cannot be used: {what}")]
    Address {
        /// What, without the address.
        what: String,
    },
    /// Nobody there, nobody who answers, or not who they should be; also a connection that broke.
    #[error("{place} does not answer: {why}")]
    Unreachable {
        /// Address without user and password.
        place: String,
        /// The system's reason.
        why: String,
    },
    /// Wrong password, unknown virtual host, not permitted.
    #[error("{place} does not let us in: {why}")]
    Denied {
        /// Address.
        place: String,
        /// The broker's reason.
        why: String,
    },
    /// A queue or an exchange is not there.
    #[error("{place} lacks what `huiliu feed provision` makes: {why}")]
    Missing {
        /// Address.
        place: String,
        /// The broker's reason.
        why: String,
    },
    /// The broker's alarm.
    #[error("{place} takes nothing now: {why}")]
    Blocked {
        /// Address.
        place: String,
        /// The broker's reason.
        why: String,
    },
    /// The management API refused.
    #[error("the management API {place} refused: {why}")]
    Management {
        /// Its address.
        place: String,
        /// What was asked and what it said.
        why: String,
    },
}

impl BrokerError {
    /// The stable code; `huiliu explain CODE` has the page.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Address { .. } => "HL0146",
            Self::Missing { .. } => "HL0732",
            Self::Blocked { .. } => "HL0734",
            Self::Denied { .. } => "HL0735",
            Self::Unreachable { .. } => "HL0737",
            Self::Management { .. } => "HL0738",
        }
    }

    /// Whether the same may work later without anybody doing anything.
    pub const fn passes(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::Blocked { .. } => true,
            Self::Address { .. } | Self::Denied { .. } | Self::Missing { .. } | Self::Management { .. } => false,
        }
    }

    /// Nothing came within `seconds`.
    pub(super) fn silence(place: &str, of_what: &str, seconds: f64) -> Self {
        Self::Unreachable { place: place.to_owned(), why: format!("no {of_what} within {seconds} s") }
    }

    /// What an error of the client library means.
    pub fn of(place: &str, error: &lapin::Error) -> Self {
        let (place, why) = (place.to_owned(), error.to_string());
        let ErrorKind::ProtocolError(said) = error.kind() else { return Self::Unreachable { place, why } };
        let why = said.get_message().to_string();
        match said.get_id() {
            // ACCESS_REFUSED; NOT_ALLOWED, which is an unknown virtual host.
            403 | 530 => Self::Denied { place, why },
            // NO_ROUTE, NOT_FOUND.
            312 | 404 => Self::Missing { place, why },
            _ => Self::Unreachable { place, why },
        }
    }
}

impl From<&BrokerError> for Problem {
    fn from(error: &BrokerError) -> Self {
        Problem::error(error.code(), error.to_string())
    }
}
