//! What sealing costs: `evidence FEED_DIRECTORY KEY CHAIN` reads the batches of a spool and does again what makes them
//! evidence — a digest for every record, the Merkle root, the body's digest, the manifest's signature — and prints the
//! seconds of each on one core. What is left of a release without them is what it would cost unsigned.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use huiliu::batch::{Manifest, RecordWriter, read_body, root};
use huiliu::crypto::{Digest, Signer};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Seconds of record digests, roots, body digests, signatures.
#[derive(Default)]
struct Spent([Duration; 4]);

impl Spent {
    fn measure<T>(&mut self, at: usize, work: impl FnOnce() -> T) -> T {
        let started = Instant::now();
        let done = std::hint::black_box(work());
        if let Some(spent) = self.0.get_mut(at) {
            *spent += started.elapsed();
        }
        done
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let [directory, key, chain] = arguments.as_slice() else { return };
    let signer = Signer::load(Path::new(key), Path::new(chain), None).expect("key and chain");
    let mut bodies: Vec<PathBuf> = std::fs::read_dir(directory)
        .expect("a spool's feed directory")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "avro"))
        .collect();
    bodies.sort();
    let (mut spent, mut records) = (Spent::default(), 0);
    for path in &bodies {
        let body = std::fs::read(path).expect("a body");
        let manifest = std::fs::read(path.with_extension("manifest.json")).expect("a manifest");
        let at = Manifest::from_json(&manifest).expect("a manifest").created_at;
        let algorithm = signer.suite().digest();
        let (schema, found) = read_body(&body, algorithm).expect("records of this suite");
        let encoded: Vec<Vec<u8>> =
            found.iter().map(|record| RecordWriter::default().record(record, &schema).to_vec()).collect();
        let digests: Vec<Digest> =
            spent.measure(0, || encoded.iter().map(|record| algorithm.digest(&[record])).collect());
        spent.measure(1, || root(algorithm, &digests));
        spent.measure(2, || algorithm.digest(&[&body]));
        spent.measure(3, || signer.sign_detached(&manifest, at).expect("a signature"));
        records += found.len();
    }
    let [digests, roots, whole, signatures] = spent.0.map(|spent| spent.as_secs_f64());
    println!(
        "batches={} records={records} record_digests_s={digests:.3} roots_s={roots:.3} body_digests_s={whole:.3} \
         signatures_s={signatures:.3} evidence_s={:.3}",
        bodies.len(),
        digests + roots + whole + signatures
    );
}
