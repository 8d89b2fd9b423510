//! What a person does at this terminal, in the audit log: who, what, how many — never a value.

use super::Context;
use crate::engine::Engine;
use crate::store::StoreError;

/// Notes that the account behind this command did something.
pub(super) async fn note(engine: &mut Engine, action: &str, detail: &str, context: &Context) -> Result<(), StoreError> {
    let at = context.clock.now().timestamp_micros();
    engine.store().audit(at, action, &format!("{detail}, by {}", who())).await
}

/// The account that runs this command.
pub(super) fn who() -> String {
    let named = ["SUDO_USER", "USER", "LOGNAME", "USERNAME"].iter().find_map(|name| std::env::var(name).ok());
    named.filter(|name| !name.is_empty()).unwrap_or_else(|| "unknown".into())
}
