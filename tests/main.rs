//! The one integration binary.

mod interop;
