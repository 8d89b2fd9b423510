//! How a status runs through its states (状态机), by business time.
//!
//! Pure. A register's status field may say which states may follow which. Every statement that a claim ever made about
//! the field is kept with its business time, so the state is a fold over all statements in order of that time: a
//! statement that may not follow the state before it is refused, and the state stands. The order in which statements
//! arrive plays no part; a late old record changes what was, not what is.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{Claim, ClaimId};
use crate::config::Register;
use crate::record::Value;

/// Earlier statements that a claim remembers. Beyond them the oldest are forgotten; a record older still finds a course
/// that begins later, and is refused or passed over like any other.
const REMEMBERED: usize = 64;

/// What a claim said about a status field before it said what it says now, or in a record that came too late.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Statement {
    /// Business time, microseconds.
    pub at: i64,
    /// Register field.
    pub field: usize,
    /// State.
    pub state: Arc<str>,
}

/// Adds statements to what is remembered: in order, each once, at one time only one per field (the later to arrive).
pub fn remember(past: &mut Vec<Statement>, more: impl IntoIterator<Item = Statement>) {
    for statement in more {
        past.retain(|known| (known.at, known.field) != (statement.at, statement.field));
        past.push(statement);
    }
    past.sort();
    if past.len() > REMEMBERED {
        past.drain(..past.len() - REMEMBERED);
    }
}

/// The states of one field.
#[derive(Debug, Clone)]
pub struct Lifecycle {
    /// Register field.
    pub field: usize,
    next: BTreeMap<String, BTreeSet<String>>,
    /// The field that tells issues apart.
    issue: Option<usize>,
}

/// One statement with what orders it.
struct Said<'a> {
    at: i64,
    rank: usize,
    claim: &'a Claim,
    state: &'a str,
    present: bool,
}

/// Where a course ended.
#[derive(Debug, PartialEq, Eq)]
pub struct Standing<'a> {
    /// The state and the claim that last said so; `None` where nobody said anything.
    pub state: Option<(&'a str, ClaimId)>,
    /// Claims whose present statement may not follow what was before it.
    pub refused: Vec<ClaimId>,
}

impl Lifecycle {
    /// The lifecycles of a register's status fields.
    pub fn all(register: &Register) -> Vec<Self> {
        let fields = register.fields.iter().enumerate();
        let of = |(field, states): (usize, &crate::config::States)| {
            let owned = |next: Vec<&str>| next.into_iter().map(str::to_owned).collect();
            let next = states.table().into_iter().map(|(state, next)| (state.to_owned(), owned(next))).collect();
            let issue = states.issue.as_ref();
            let issue = issue.and_then(|issue| register.fields.iter().position(|field| field.name == issue.value));
            Self { field, next, issue }
        };
        fields
            .filter_map(|(field, definition)| Some((field, definition.states.as_ref()?)))
            .filter(|(_, states)| !states.next.is_empty())
            .map(of)
            .collect()
    }

    /// Whether a state may follow another. A state may follow itself; nothing is known against an unknown one.
    pub fn follows(&self, from: &str, to: &str) -> bool {
        from == to || self.next.get(from).is_none_or(|next| next.contains(to))
    }

    /// The state that these claims add up to. `rank` orders systems at one and the same time: the lower wins. Where a
    /// field tells issues of the thing apart (证照标识, 卡号), a new issue begins anew, and what names no issue counts for
    /// each from its beginning on; the latest issue stands.
    pub fn standing<'a>(&self, claims: &[&'a Claim], rank: impl Fn(&Claim) -> usize) -> Standing<'a> {
        let listed = claims.iter().any(|claim| rank(claim) != usize::MAX);
        let heard: Vec<&'a Claim> =
            claims.iter().copied().filter(|claim| !listed || rank(claim) != usize::MAX).collect();
        let mut issues: BTreeMap<Option<&str>, Vec<Said<'a>>> = BTreeMap::new();
        for claim in heard {
            let issue = self.issue.and_then(|field| text(claim, field)).map(|id| certificate_version(id).0);
            issues.entry(issue).or_default().extend(self.said(claim, rank(claim)));
        }
        let open = if issues.len() > 1 { issues.remove(&None).unwrap_or_default() } else { Vec::new() };
        let begin = |said: &[Said<'_>]| said.iter().map(|said| said.at).min();
        let Some(latest) =
            issues.iter().filter(|(_, said)| !said.is_empty()).max_by_key(|(issue, said)| (begin(said), **issue))
        else {
            return self.fold(open);
        };
        let key = *latest.0;
        let mut said = issues.remove(&key).unwrap_or_default();
        let since = begin(&said).unwrap_or(i64::MIN);
        said.extend(open.into_iter().filter(|other| other.at >= since));
        self.fold(said)
    }

    fn said<'a>(&self, claim: &'a Claim, rank: usize) -> impl Iterator<Item = Said<'a>> {
        let field = self.field;
        let past = claim.past.iter().filter(move |statement| statement.field == field);
        let past = past.map(move |s| Said { at: s.at, rank, claim, state: &s.state, present: false });
        let present = text(claim, field).map(|state| Said { at: claim.updated, rank, claim, state, present: true });
        past.chain(present)
    }

    fn fold<'a>(&self, mut said: Vec<Said<'a>>) -> Standing<'a> {
        // Of two at one time the better-ranked comes last: it is the one that stands, if it may.
        said.sort_by(|a, b| {
            let order = |s: &Said<'a>| (s.at, std::cmp::Reverse(s.rank), s.claim.key.clone(), s.claim.occurrence);
            order(a).cmp(&order(b)).then_with(|| a.state.cmp(b.state)).then_with(|| a.claim.id.cmp(&b.claim.id))
        });
        let mut standing = Standing { state: None, refused: Vec::new() };
        for Said { claim, state, present, .. } in said {
            match standing.state {
                Some((before, _)) if !self.follows(before, state) => {
                    if present {
                        standing.refused.push(claim.id);
                    }
                }
                _ => standing.state = Some((state, claim.id)),
            }
        }
        standing
    }
}

/// What a claim says about a text field.
fn text(claim: &Claim, field: usize) -> Option<&str> {
    match claim.values.get(field) {
        Some(Some(Value::Text(text))) => Some(text),
        _ => None,
    }
}

/// The certificate without its version, and the version: `….<流水号>.<版本号>.<校验位>` (GB/T 36904).
pub fn certificate_version(id: &str) -> (&str, u32) {
    let Some((body, _check)) = id.rsplit_once('.') else { return (id, 0) };
    match body.rsplit_once('.') {
        Some((root, version)) if version.len() == 3 => version.parse().map_or((id, 0), |version| (root, version)),
        _ => (id, 0),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::linking::Origin;

    /// 01 有效 ⇄ 02 暂扣 → 04 注销, 07 吊销; 05 失效 → 04.
    fn lifecycle() -> Lifecycle {
        let table = [
            ("01", &["02", "04", "05", "07"][..]),
            ("02", &["01", "04", "07"]),
            ("04", &[]),
            ("05", &["04"]),
            ("07", &["04"]),
        ];
        let owned = |next: &[&str]| next.iter().map(|s| (*s).to_owned()).collect();
        Lifecycle {
            field: 0,
            issue: None,
            next: table.iter().map(|(state, next)| ((*state).to_owned(), owned(next))).collect(),
        }
    }

    fn claim(id: ClaimId, at: i64, state: &str) -> Claim {
        Claim {
            id,
            stream: 1,
            key: format!("k{id}").into(),
            occurrence: 0,
            updated: at,
            values: vec![Some(Value::Text(state.to_owned()))],
            past: Vec::new(),
            origin: Origin { file: 1, row: id, run: 1 },
        }
    }

    /// A record as a store with one claim takes it in: in place of the older, or beside the newer.
    fn take(stored: Option<Claim>, arriving: Claim) -> Claim {
        let Some(stored) = stored else { return arriving };
        let (mut stays, goes) = if arriving.updated < stored.updated { (stored, arriving) } else { (arriving, stored) };
        let said = goes.values[0].clone();
        let mut past = stays.past.clone();
        let mut all = goes.past.clone();
        if let Some(Value::Text(state)) = said {
            all.push(Statement { at: goes.updated, field: 0, state: state.into() });
        }
        remember(&mut past, all);
        stays.past = past;
        stays
    }

    fn state(claims: &[&Claim]) -> Option<String> {
        lifecycle().standing(claims, |_| 0).state.map(|(state, _)| state.to_owned())
    }

    fn course(states: &[(i64, &str)], expected: &str) {
        let claim = states.iter().fold(None, |stored, (at, state)| Some(take(stored, claim(1, *at, state))));
        let claim = claim.expect("some states");
        assert_eq!(state(&[&claim]).as_deref(), Some(expected), "{states:?}");
    }

    #[test]
    fn what_ended_stays_ended_and_a_suspension_is_lifted() {
        course(&[(1, "01"), (2, "02"), (3, "01")], "01");
        course(&[(1, "01"), (2, "07"), (3, "01")], "07"); // a later record cannot bring it back
        course(&[(1, "01"), (3, "07"), (2, "01")], "07"); // nor a late old one
        course(&[(1, "01"), (3, "01"), (2, "07")], "07"); // and a late end still ends it
        course(&[(1, "07"), (2, "04")], "04");
        course(&[(1, "02"), (2, "05")], "02"); // expiry overwrites nothing
    }

    #[test]
    fn a_refused_statement_is_named() {
        let (one, other) = (claim(1, 1, "04"), claim(2, 2, "01"));
        let lifecycle = lifecycle();
        let standing = lifecycle.standing(&[&other, &one], |_| 0);
        assert_eq!(standing, Standing { state: Some(("04", 1)), refused: vec![2] });
    }

    #[test]
    fn a_new_issue_begins_anew_and_an_old_one_does_not_come_back() {
        let issued = |id: ClaimId, at, state, issue: Option<&str>| {
            let mut claim = claim(id, at, state);
            claim.values.push(issue.map(|issue| Value::Text(issue.to_owned())));
            claim
        };
        let (first, second) = (issued(1, 1, "04", Some("A")), issued(2, 5, "01", Some("B")));
        let (revoked, early) = (issued(3, 6, "07", None), issued(3, 3, "07", None));
        let lifecycle = Lifecycle { issue: Some(1), ..lifecycle() };
        let check = |claims: &[&Claim], expected: &str| {
            let standing = lifecycle.standing(claims, |_| 0).state.map(|(state, _)| state.to_owned());
            assert_eq!(standing.as_deref(), Some(expected));
        };
        check(&[&first, &second], "01");
        check(&[&second, &first, &revoked], "07"); // another department revokes what is now in force
        check(&[&second, &first, &early], "01"); // … or what was in force before
        check(&[&first, &early], "04");
    }

    #[test]
    fn versions_are_told_from_certificates() {
        let id = "1.2.156.3005.2.11100000000013338W011.11430000006122244L.20230000403.002.S";
        assert_eq!(certificate_version(id), ("1.2.156.3005.2.11100000000013338W011.11430000006122244L.20230000403", 2));
        assert_eq!(certificate_version("鲁JZ安许证字1"), ("鲁JZ安许证字1", 0));
    }

    proptest! {
        #[test]
        fn any_order_of_arrivals_ends_in_the_same_state(
            course in proptest::collection::vec(0_usize..5, 1..12), keys in proptest::collection::vec(0_i64..3, 12), seed in any::<u64>(),
        ) {
            let states = ["01", "02", "04", "05", "07"];
            // One record at each time; up to three claims (source keys) say something about the entity.
            let records: Vec<Claim> = course.iter().enumerate()
                .map(|(at, state)| claim(keys[at] + 1, at as i64, states[*state])).collect();
            let mut shuffled = records.clone();
            let mut random = seed;
            for i in (1..shuffled.len()).rev() {
                random = random.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                shuffled.swap(i, (random >> 33) as usize % (i + 1));
            }
            let arrive = |records: &[Claim]| {
                let mut stored: BTreeMap<ClaimId, Claim> = BTreeMap::new();
                for record in records {
                    let kept = take(stored.remove(&record.id), record.clone());
                    stored.insert(record.id, kept);
                }
                state(&stored.values().collect::<Vec<_>>())
            };
            prop_assert_eq!(arrive(&records), arrive(&shuffled));
        }
    }
}
