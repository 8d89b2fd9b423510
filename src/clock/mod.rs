//! What time it is, as a value that tests can set.
