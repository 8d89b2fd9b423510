//! Where tests look for real data that nobody here wrote. Paths are looked up when a test runs, in its working
//! directory (the package's root): a target directory that several checkouts share must not lead one to another.

use std::path::PathBuf;

/// A path below the shared directory: `$HUILIU_SHARED`, else `shared` beside the checkout. `None`, said on stderr, when
/// it is not there.
pub fn shared(below: &str) -> Option<PathBuf> {
    let roots =
        [std::env::var_os("HUILIU_SHARED").map(PathBuf::from), Some("../shared".into()), Some("../../shared".into())];
    let found = roots.into_iter().flatten().map(|root| root.join(below)).find(|path| path.exists());
    if found.is_none() {
        eprintln!("shared test data absent: {below} not checked");
    }
    found
}
