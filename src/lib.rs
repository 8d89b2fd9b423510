//! huiliu 汇流: departments' records flow in through connectors, are mapped by SQL onto shared registers under
//! contract, and flow out through feeds as signed batches. Modules in the order a record meets them.

pub mod clock;
pub mod config;
pub mod decode;
pub mod demo;
pub mod error;
pub mod mapping;
pub mod record;
