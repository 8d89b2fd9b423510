//! What a department's database says when it says no, told apart by what can be done about it.

use crate::source::SourceError;

/// The error of a statement or connection; `connected` says whether the server had let us in.
pub(super) fn of(error: &sqlx::Error, connected: bool) -> SourceError {
    use sqlx::Error;
    let code = error.as_database_error().and_then(|error| error.code()).unwrap_or_default().into_owned();
    let server = error.as_database_error();
    let number = server.and_then(|e| e.try_downcast_ref::<sqlx::mysql::MySqlDatabaseError>()).map(|e| e.number());
    // SQLite's primary result code.
    let sqlite = server.filter(|e| e.try_downcast_ref::<sqlx::sqlite::SqliteError>().is_some());
    let sqlite = sqlite.and_then(|_| code.parse::<u32>().ok()).map(|code| code & 0xff);
    match (code.as_str(), number) {
        (c, _) if c.starts_with("28") && number.is_none() => SourceError::Login { why: code },
        (_, Some(1044 | 1045 | 1698)) | ("42501", _) | (_, Some(1142 | 1143)) => {
            SourceError::Login { why: shown(&code, number) }
        }
        ("57014" | "55006" | "55P03" | "40P01" | "40001", _) | (_, Some(3024 | 1205 | 1213 | 1969)) => {
            SourceError::Slow { why: shown(&code, number) }
        }
        ("3D000" | "42P01" | "42703" | "3F000", _) | (_, Some(1049 | 1054 | 1146)) => {
            SourceError::NotThere { why: shown(&code, number) }
        }
        _ if matches!(sqlite, Some(5 | 6)) => SourceError::Slow { why: format!("SQLite {code}") },
        _ if sqlite == Some(14) => {
            SourceError::Unreached { why: "there is no such file, or it cannot be opened".to_owned() }
        }
        _ => match error {
            Error::Database(server) if server.message().starts_with("no such") => {
                SourceError::NotThere { why: server.message().to_owned() }
            }
            Error::Database(_) => SourceError::Refused { why: shown(&code, number) },
            Error::Configuration(_) => SourceError::Unreached { why: "the url does not read".to_owned() },
            Error::Tls(_) => {
                SourceError::Unreached { why: "its certificate is not trusted, or it has none".to_owned() }
            }
            Error::Io(io) => SourceError::Unreached { why: io.kind().to_string() },
            _ if connected => SourceError::Unreached { why: "the connection broke".to_owned() },
            _ => SourceError::Unreached { why: "nobody answers as such a server does".to_owned() },
        },
    }
}

/// The error of an ODBC driver or of the driver manager; `connected` says whether the server had let us in.
#[cfg(feature = "odbc")]
pub(super) fn of_odbc(error: &odbc_api::Error, connected: bool) -> SourceError {
    use odbc_api::Error;
    let record = match error {
        Error::Diagnostics { record, .. } | Error::UnsupportedOdbcApiVersion(record) => record,
        Error::FailedAllocatingEnvironment => {
            return SourceError::Driver { why: "unixODBC does not start".to_owned() };
        }
        // Whatever it says, it is about buffers and the driver, never about values.
        _ => return SourceError::Refused { why: "its driver does not keep to ODBC".to_owned() },
    };
    let state = record.state.as_str();
    let why = format!("SQLSTATE {state}, error {}", record.native_error);
    // Read, never shown: it may quote a value.
    let message = record.to_string();
    match state {
        "IM002" => SourceError::Driver { why: "no data source has this name (IM002)".to_owned() },
        "IM003" | "IM004" | "IM005" | "IM006" => SourceError::Driver { why: format!("it does not load ({state})") },
        "01000" if message.contains("open lib") => {
            // A name that nobody registered is taken for a library's.
            let why = "no driver has this name, or its library is not there or does not load";
            SourceError::Driver { why: why.to_owned() }
        }
        "28000" | "28P01" | "42501" => SourceError::Login { why },
        _ if !connected && message.contains("password authentication failed") => SourceError::Login { why },
        "HYT00" | "57014" | "55006" | "55P03" | "40P01" | "40001" => SourceError::Slow { why },
        "42S02" | "42S22" | "S0002" | "S0022" | "3D000" | "42P01" | "42703" | "3F000" => SourceError::NotThere { why },
        "HYT01" | "57P01" | "01002" => SourceError::Unreached { why },
        _ if state.starts_with("08") || !connected => SourceError::Unreached { why },
        _ if message.contains("no such table") || message.contains("no such column") => SourceError::NotThere { why },
        _ if message.contains("database is locked") => SourceError::Slow { why },
        _ => SourceError::Refused { why },
    }
}

/// A statement was given up because it took too long.
pub(super) fn given_up(seconds: u64) -> SourceError {
    SourceError::Slow { why: format!("no answer within {seconds} s") }
}

/// The server's own code; never its message, which may quote a value.
fn shown(code: &str, number: Option<u16>) -> String {
    match number {
        Some(number) => format!("error {number}"),
        None => format!("SQLSTATE {code}"),
    }
}
