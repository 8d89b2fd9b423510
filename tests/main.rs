//! The one integration binary.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::duplicate_mod, reason = "the engine's tests run on every store")]

mod at_rest;
mod audit;
mod backfill;
mod bad_input;
mod cdc;
mod chaos;
mod city;
mod codes;
mod conformance;
mod databases;
mod deploy;
mod drift;
mod feeds;
mod inbox;
mod interop;
mod leases;
#[cfg(feature = "odbc")]
mod odbc;
mod on_postgres;
mod plan;
mod postgres;
mod proofs;
mod rabbitmq;
mod real;
mod receivers;
mod redaction;
mod registers;
mod runs;
mod seals;
mod serve;
mod services_http;
mod sources;
mod statements;
mod support;
#[path = "../src/testing.rs"]
mod testing;
mod tidy;
mod verbs;
