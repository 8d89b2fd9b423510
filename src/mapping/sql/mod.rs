//! SQL expressions over rows: the machinery behind mappings, register rules, pipeline checks and feeds.
//!
//! Text → [`parse`] → syntax tree → [`mod@resolve`] (names exist, calls get sites) → [`mod@plan`] (types fit) → [`mod@evaluate`].
//! Decides what SQL is accepted and what an error looks like. Must not know: datasets, registers, feeds.

mod calls;
mod condition;
mod conversion;
mod depth;
mod domain;
mod evaluate;
mod fallback;
mod lazy;
mod parse;
mod plan;
mod resolve;
mod room;
mod select;
mod sites;
mod standard;
mod syntax;

pub(crate) use condition::{Single, condition, single};
pub(crate) use evaluate::{Failed, evaluate};
pub(crate) use parse::Origin;
pub(crate) use plan::{Planned, Wanted, plan, schema};
pub(crate) use resolve::{Calls, Resolved, Scope, listed, resolve};
pub(crate) use room::with_room;
pub(crate) use select::select;
pub(crate) use sites::{Act, Event, Mode, ROW, row_ids};
