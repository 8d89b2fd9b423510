//! Identity keys that nobody has: of a register that was empty when it was first asked about, memory knows.
//!
//! Decides: which keys the store need not be asked about. Must not know: where keys are kept. Guarantees: a key that the
//! store knows is always asked about; memory is [`BITS`] bits a register, and once they say too little it is let go. Every
//! commit that adds keys comes with claims of a stream, and each stream counts those: whoever gets the turn to write
//! compares, and forgets what somebody else has changed meanwhile.

use std::collections::HashMap;
use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_128_with_seed;

use super::ChangeSet;
use super::recollection::touches;

/// 8 MiB a register.
const BITS: u64 = 1 << 26;
/// Keys after which a filter of so many bits says too little.
const MOST_KEYS: u64 = BITS / 8;

/// What is known of the registers that are being filled.
#[derive(Default)]
pub(super) struct Novelty {
    /// `None`: it had keys before.
    registers: HashMap<String, Option<Filter>>,
}

/// A Bloom filter (B. H. Bloom, 1970) with six bits a key: of a million, one in two million is asked about for nothing.
struct Filter {
    /// Sum of the versions of the register's streams.
    version: i64,
    words: Vec<u64>,
    keys: u64,
}

impl Novelty {
    /// Whether [`Self::begin`] has not said yet how the register was found.
    pub(super) fn is_open(&self, register: &str) -> bool {
        !self.registers.contains_key(register)
    }

    /// The register was found without any key, at this version of its streams; or with some.
    pub(super) fn begin(&mut self, register: &str, empty_at: Option<i64>) {
        let filter = empty_at.map(|version| Filter { version, words: vec![0; (BITS / 64) as usize], keys: 0 });
        self.registers.insert(register.to_owned(), filter);
    }

    /// Those keys that may be known.
    pub(super) fn may_be_known(&self, register: &str, keys: &[(usize, Arc<str>)]) -> Option<Vec<(usize, Arc<str>)>> {
        let filter = self.registers.get(register)?.as_ref()?;
        Some(keys.iter().filter(|(kind, key)| filter.has(*kind, key)).cloned().collect())
    }

    /// A commit of ours is on its way.
    pub(super) fn commit(&mut self, change: &ChangeSet) {
        for part in &change.parts {
            let Some(kept) = self.registers.get_mut(&part.register) else { continue };
            let Some(filter) = kept else { continue };
            filter.version += i64::from(touches(part));
            part.new_keys.iter().for_each(|(kind, key, _)| filter.add(*kind, key));
            if filter.keys > MOST_KEYS {
                *kept = None;
            }
        }
    }

    /// Registers of which something is kept.
    pub(super) fn registers(&self) -> Vec<String> {
        self.registers.iter().filter(|(_, filter)| filter.is_some()).map(|(register, _)| register.clone()).collect()
    }

    /// Lets go of registers whose streams are at another version than these.
    pub(super) fn compare(&mut self, versions: &[(String, i64)]) {
        for (register, kept) in &mut self.registers {
            let stands = |filter: &Filter| versions.iter().any(|(name, at)| name == register && *at == filter.version);
            if !kept.as_ref().is_some_and(stands) {
                *kept = None;
            }
        }
    }

    /// Forgets everything.
    pub(super) fn forget(&mut self) {
        self.registers.clear();
    }
}

impl Filter {
    fn has(&self, kind: usize, key: &str) -> bool {
        bits(kind, key).all(|bit| self.words[(bit / 64) as usize] & (1 << (bit % 64)) != 0)
    }

    fn add(&mut self, kind: usize, key: &str) {
        bits(kind, key).for_each(|bit| self.words[(bit / 64) as usize] |= 1 << (bit % 64));
        self.keys += 1;
    }
}

/// Six bits of a key, from two digests (A. Kirsch, M. Mitzenmacher, 2006).
fn bits(kind: usize, key: &str) -> impl Iterator<Item = u64> {
    let digest = xxh3_128_with_seed(key.as_bytes(), kind as u64);
    let (first, step) = (digest as u64, (digest >> 64) as u64 | 1);
    (0..6).map(move |i| first.wrapping_add(step.wrapping_mul(i)) % BITS)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(novelty: &Novelty, keys: &[(usize, &str)]) -> Option<usize> {
        let keys: Vec<(usize, Arc<str>)> = keys.iter().map(|(kind, key)| (*kind, Arc::from(*key))).collect();
        novelty.may_be_known("enterprise", &keys).map(|keys| keys.len())
    }

    fn filled() -> Novelty {
        let mut novelty = Novelty::default();
        novelty.begin("enterprise", Some(3));
        if let Some(Some(filter)) = novelty.registers.get_mut("enterprise") {
            filter.add(0, "a");
        }
        novelty
    }

    #[test]
    fn only_what_was_added_may_be_known() {
        let novelty = filled();
        assert_eq!(asked(&novelty, &[(0, "a"), (1, "a"), (0, "b")]), Some(1));
        assert!(!novelty.is_open("enterprise") && novelty.is_open("person"));
    }

    #[test]
    fn a_register_that_had_keys_is_always_asked_about() {
        let mut novelty = Novelty::default();
        novelty.begin("enterprise", None);
        assert_eq!(asked(&novelty, &[(0, "a")]), None);
    }

    #[test]
    fn what_somebody_else_changed_is_let_go() {
        let mut novelty = filled();
        novelty.compare(&[("enterprise".into(), 3)]);
        assert_eq!(asked(&novelty, &[(0, "b")]), Some(0));
        novelty.compare(&[("enterprise".into(), 4)]);
        assert_eq!((asked(&novelty, &[(0, "b")]), novelty.is_open("enterprise")), (None, false));
    }
}
