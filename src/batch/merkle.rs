//! A Merkle tree over record digests, so that one record can be proven without the others.
//!
//! Decides: the tree of RFC 6962 §2.1 with leaves in body order: leaf = H(0x00 ‖ digest), node = H(0x01 ‖ left ‖ right),
//! an odd node moves up unchanged, no leaves give H(""). Must not know: records. Guarantees: a proof verifies for
//! exactly one position of one tree size.

use crate::crypto::{Digest, DigestAlgorithm};

/// The root over these record digests, in order.
pub fn root(algorithm: DigestAlgorithm, digests: &[Digest]) -> Digest {
    over(algorithm, leaves(algorithm, digests))
}

/// The root over leaves that are hashed already, in order.
pub(super) fn over(algorithm: DigestAlgorithm, leaves: Vec<Digest>) -> Digest {
    let mut level = leaves;
    while level.len() > 1 {
        level = parents(algorithm, &level);
    }
    level.first().copied().unwrap_or_else(|| algorithm.digest(&[]))
}

/// What, besides the record's digest, is needed to recompute the root: siblings from the leaf upwards
/// (RFC 6962 §2.1.1). `None` when there is no such position.
pub fn prove(algorithm: DigestAlgorithm, digests: &[Digest], position: usize) -> Option<Vec<Digest>> {
    let mut level = leaves(algorithm, digests);
    level.get(position)?;
    let (mut at, mut path) = (position, Vec::new());
    while level.len() > 1 {
        path.extend(level.get(at ^ 1));
        level = parents(algorithm, &level);
        at /= 2;
    }
    Some(path)
}

/// Whether a record with this digest stands at `position` (from 0) among `count` records under `root`.
pub fn verify_proof(
    algorithm: DigestAlgorithm,
    digest: &Digest,
    (position, count): (usize, usize),
    path: &[Digest],
    root: &Digest,
) -> bool {
    if position >= count {
        return false;
    }
    let mut path = path.iter();
    let mut hash = leaf(algorithm, digest);
    let (mut at, mut width) = (position, count);
    while width > 1 {
        // The last node of an odd level has no sibling and moves up.
        if at ^ 1 < width {
            let Some(sibling) = path.next() else { return false };
            hash = if at % 2 == 0 { node(algorithm, &hash, sibling) } else { node(algorithm, sibling, &hash) };
        }
        at /= 2;
        width = width.div_ceil(2);
    }
    path.next().is_none() && hash == *root
}

fn leaf(algorithm: DigestAlgorithm, digest: &Digest) -> Digest {
    algorithm.digest(&[&[0], digest])
}

fn node(algorithm: DigestAlgorithm, left: &Digest, right: &Digest) -> Digest {
    algorithm.digest(&[&[1], left, right])
}

fn leaves(algorithm: DigestAlgorithm, digests: &[Digest]) -> Vec<Digest> {
    digests.iter().map(|digest| leaf(algorithm, digest)).collect()
}

fn parents(algorithm: DigestAlgorithm, level: &[Digest]) -> Vec<Digest> {
    let (pairs, odd) = level.as_chunks::<2>();
    pairs.iter().map(|[left, right]| node(algorithm, left, right)).chain(odd.iter().copied()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::hex;

    const SHA256: DigestAlgorithm = DigestAlgorithm::Sha256;

    fn digests(count: usize) -> Vec<Digest> {
        (0..count).map(|n| SHA256.digest(&[&n.to_le_bytes()])).collect()
    }

    /// RFC 6962 §2.1 as it is written: split at the largest power of two below the count.
    fn by_the_book(digests: &[Digest]) -> Digest {
        match digests {
            [] => SHA256.digest(&[]),
            [one] => leaf(SHA256, one),
            more => {
                let (left, right) = more.split_at(more.len().next_power_of_two() / 2);
                node(SHA256, &by_the_book(left), &by_the_book(right))
            }
        }
    }

    #[test]
    fn the_root_is_that_of_rfc_6962() {
        assert_eq!(
            hex(&root(SHA256, &[])),
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
            "no leaves"
        );
        for count in 0..70 {
            assert_eq!(root(SHA256, &digests(count)), by_the_book(&digests(count)), "{count} leaves");
        }
    }

    #[test]
    fn every_record_is_proven_at_its_place_only() {
        for count in 1..20 {
            let all = digests(count);
            let root = root(SHA256, &all);
            for at in 0..count {
                let path = prove(SHA256, &all, at).unwrap();
                for claimed in 0..count {
                    let holds = verify_proof(SHA256, &all[at], (claimed, count), &path, &root);
                    assert_eq!(holds, claimed == at, "{at} of {count} claimed at {claimed}");
                }
                assert!(!verify_proof(SHA256, &[9; 32], (at, count), &path, &root), "another record");
                let mut longer = path.clone();
                longer.push([0; 32]);
                assert!(!verify_proof(SHA256, &all[at], (at, count), &longer, &root));
            }
            assert_eq!(prove(SHA256, &all, count), None);
        }
    }
}
