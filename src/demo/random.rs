//! Seeded chance without state: the same question always gets the same answer.
//!
//! Pure. A [`Dice`] is asked by topic and index, so the generator can look at any row of any system at any time,
//! in any order, without keeping a city in memory.

/// A seed that answers questions.
#[derive(Debug, Clone, Copy)]
pub(super) struct Dice {
    seed: u64,
}

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Self { seed: mix(seed ^ 0x6875_696c_6975) }
    }

    /// A number as good as random for this topic and index.
    pub(super) fn roll(self, topic: &str, index: u64) -> u64 {
        let topic = topic
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
        mix(self.seed ^ mix(topic ^ mix(index)))
    }

    /// From 0 to `limit` − 1; 0 when `limit` is 0.
    pub(super) fn below(self, topic: &str, index: u64, limit: u64) -> u64 {
        self.roll(topic, index).checked_rem(limit).unwrap_or(0)
    }

    /// Whether a chance of one in `n` comes true.
    pub(super) fn one_in(self, topic: &str, index: u64, n: u64) -> bool {
        self.below(topic, index, n) == 0
    }

    /// One of several.
    pub(super) fn pick<T: Copy>(self, topic: &str, index: u64, among: &[T]) -> T {
        among[self.roll(topic, index) as usize % among.len()]
    }
}

/// The finaliser of SplitMix64.
fn mix(seed: u64) -> u64 {
    let z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_depend_on_seed_topic_and_index_only() {
        let dice = Dice::new(7);
        assert_eq!(dice.roll("name", 3), Dice::new(7).roll("name", 3));
        assert_ne!(dice.roll("name", 3), dice.roll("name", 4));
        assert_ne!(dice.roll("name", 3), dice.roll("address", 3));
        assert_ne!(dice.roll("name", 3), Dice::new(8).roll("name", 3));
    }

    #[test]
    fn chances_come_out_about_right() {
        let dice = Dice::new(1);
        let hits = (0..10_000).filter(|i| dice.one_in("hit", *i, 10)).count();
        assert!((900..1100).contains(&hits), "{hits}");
    }
}
