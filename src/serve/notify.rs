//! What systemd is told: ready, alive, reading definitions again, stopping. Elsewhere nobody listens.

use std::time::Duration;

use sd_notify::NotifyState;

/// Everything is up.
pub(super) fn ready() {
    tell(&[NotifyState::Ready]);
}

/// Definitions are read again; [`ready`] follows.
pub(super) fn reloading() {
    let mut states = vec![NotifyState::Reloading];
    states.extend(NotifyState::monotonic_usec_now().ok());
    tell(&states);
}

/// The end has begun.
pub(super) fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// Still alive.
pub(super) fn alive() {
    tell(&[NotifyState::Watchdog]);
}

/// How often [`alive`] is expected at least, if somebody watches: half of the watchdog's patience.
pub(super) fn rhythm() -> Option<Duration> {
    sd_notify::watchdog_enabled().map(|patience| patience / 2)
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "the service manager was not told");
    }
}
