//! The one integration binary.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod bad_input;
mod city;
mod feeds;
mod interop;
mod rabbitmq;
mod real;
mod receivers;
mod runs;
mod support;
#[path = "../src/testing.rs"]
mod testing;
mod tidy;
mod verbs;
