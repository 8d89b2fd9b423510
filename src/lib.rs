//! huiliu 汇流: departments' records flow in through connectors, are mapped by SQL onto shared registers under
//! contract, and flow out through feeds as signed batches. Modules in the order a record meets them.

pub mod batch;
pub mod cli;
pub mod clock;
pub mod config;
pub mod crypto;
pub mod decode;
pub mod demo;
pub mod engine;
pub mod error;
pub mod linking;
pub mod mapping;
pub mod outlet;
pub mod receive;
pub mod record;
pub mod share;
pub mod source;
pub mod store;
