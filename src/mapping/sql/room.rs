//! Stack for work that recurses: parsing and planning.
//!
//! A level of nesting costs the parser and the planner tens of kilobytes in a debug build; a thread of the runtime has
//! two megabytes. More levels than [`super::depth::DEEPEST`] are not admitted, so this much is enough. A thread costs more
//! than most expressions: whoever compiles many does all of it in one room.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;

const ROOM: usize = 64 << 20;

thread_local! {
    /// Whether this thread has room.
    static ROOMY: Cell<bool> = const { Cell::new(false) };
}

/// Does the work on a thread with room: this one, if it has. `None` when there is no such thread, or the work panicked.
pub(crate) fn with_room<T: Send>(work: impl FnOnce() -> T + Send) -> Option<T> {
    if ROOMY.get() {
        return catch_unwind(AssertUnwindSafe(work)).ok();
    }
    let work = || {
        ROOMY.set(true);
        work()
    };
    thread::scope(|threads| {
        let thread = thread::Builder::new().name("sql".to_owned()).stack_size(ROOM).spawn_scoped(threads, work);
        thread.ok().and_then(|thread| thread.join().ok())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_room_within_a_room_is_the_same_and_what_breaks_down_in_it_stays_there() {
        let here = thread::current().id();
        let (outer, inner, broken, after) = with_room(|| {
            let inner = with_room(|| thread::current().id());
            let broken = with_room(|| assert!(ROOMY.get() && thread::current().name() != Some("sql")));
            (thread::current().id(), inner, broken, with_room(|| 7))
        })
        .expect("a thread");
        assert_ne!(outer, here);
        assert_eq!((inner, broken, after), (Some(outer), None, Some(7)));
        assert!(!ROOMY.get());
    }
}
