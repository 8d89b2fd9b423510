//! huiliu 汇流: departments' records flow in through connectors, are mapped by SQL onto shared registers under
//! contract, and flow out through feeds as signed batches. Modules in the order a record meets them.

// What everything stands on.
pub mod clock;
pub mod error;
pub mod failpoint;
pub mod postgres;
pub mod record;

#[cfg(test)]
mod testing;

// What people write.
pub mod config;

// In: files, rows, claims, registers.
pub mod source;

pub mod decode;

pub mod mapping;

pub mod linking;

pub mod store;

// Out: grants, batches, outlets.
pub mod share;

pub mod crypto;

pub mod pki;
pub mod tsa;

pub mod audit;
pub mod batch;

pub mod outlet;

// What moves it all, and the other side.
pub mod engine;
pub mod receive;

pub mod serve;

// The demo's city, and the command line.
pub mod demo;

pub mod cli;
