//! The one integration binary.

mod city;
mod interop;
mod support;
mod verbs;
