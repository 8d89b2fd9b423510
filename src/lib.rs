//! huiliu 汇流: departments' records flow in through connectors, are mapped by SQL onto shared registers under
//! contract, and flow out through feeds as signed batches. Modules in the order a record meets them.

pub mod error;
pub mod record;
pub mod clock;
pub mod config;
pub mod source;
pub mod decode;
pub mod mapping;
pub mod linking;
pub mod store;
pub mod share;
pub mod crypto;
pub mod batch;
pub mod outlet;
pub mod engine;
pub mod receive;
pub mod demo;
pub mod cli;
