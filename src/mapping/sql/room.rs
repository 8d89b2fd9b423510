//! Stack for work that recurses: parsing and planning.
//!
//! A level of nesting costs the parser and the planner tens of kilobytes in a debug build; a thread of the runtime has
//! two megabytes. More levels than [`super::depth::DEEPEST`] are not admitted, so this much is enough.

use std::thread;

const ROOM: usize = 64 << 20;

/// Does the work on a thread with room. `None` when there is no such thread, or the work panicked.
pub(super) fn with_room<T: Send>(work: impl FnOnce() -> T + Send) -> Option<T> {
    thread::scope(|threads| {
        let thread = thread::Builder::new().name("sql".to_owned()).stack_size(ROOM).spawn_scoped(threads, work);
        thread.ok().and_then(|thread| thread.join().ok())
    })
}
