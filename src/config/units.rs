//! Bounded scalars with units: `10m`, `0.5%`, `512MiB`, `5000 rows/s`, `200000 records/day`.

/// Bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteSize(pub u64);

/// A share between 0 and 1.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct Percent(pub f64);

/// Rows per second, above zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate(pub u32);

/// Records a day, above zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota(pub u64);
