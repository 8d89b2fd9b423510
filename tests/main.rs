//! The one integration binary.

mod bad_input;
mod city;
mod feeds;
mod interop;
mod real;
mod runs;
mod support;
mod tidy;
mod verbs;
