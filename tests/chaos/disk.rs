//! A small disk that can be filled, and the spool and a subscriber's database on it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// A file system of its own where this user may mount one; else a directory whose spool can be taken away.
pub struct Disk {
    dir: TempDir,
    mounted: bool,
    /// Whether it is full now.
    pub full: bool,
}

impl Disk {
    /// Of so many MiB.
    pub fn new(mib: u64) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let size = format!("size={mib}m");
        let mount = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "huiliu-chaos"]).arg(dir.path()).output();
        let disk = Self { mounted: mount.is_ok_and(|out| out.status.success()), dir, full: false };
        fs::create_dir(disk.spool()).unwrap();
        disk
    }

    /// What a full disk is here, for people.
    pub fn kind(&self) -> &'static str {
        if self.mounted { "a tmpfs without room" } else { "a spool that is not there (no tmpfs may be mounted here)" }
    }

    /// Its directory.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// The spool's directory on it.
    pub fn spool(&self) -> PathBuf {
        self.path().join("spool")
    }

    /// Leaves no room, to the last byte.
    pub fn fill(&mut self) {
        self.full = true;
        if !self.mounted {
            fs::rename(self.spool(), self.path().join("aside")).unwrap();
            return fs::write(self.spool(), "no directory").unwrap();
        }
        let mut ballast = fs::File::create(self.ballast()).unwrap();
        for bytes in [1 << 20, 4 << 10, 1] {
            let some = vec![0; bytes];
            while std::io::Write::write_all(&mut ballast, &some).is_ok() {}
        }
    }

    /// There is room again.
    pub fn free(&mut self) {
        if !std::mem::take(&mut self.full) {
            return;
        }
        if self.mounted {
            return fs::remove_file(self.ballast()).unwrap();
        }
        fs::remove_file(self.spool()).unwrap();
        fs::rename(self.path().join("aside"), self.spool()).unwrap();
    }

    fn ballast(&self) -> PathBuf {
        self.path().join("ballast")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if self.mounted {
            Command::new("umount").arg("--lazy").arg(self.path()).output().ok();
        }
    }
}

#[test]
fn a_full_disk_takes_nothing_and_has_room_again() {
    let mut disk = Disk::new(2);
    let file = disk.spool().join("batch");
    disk.fill();
    assert!(fs::write(&file, vec![1; 64 << 10]).is_err(), "{}", disk.kind());
    disk.free();
    fs::write(&file, vec![1; 64 << 10]).unwrap();
    assert_eq!(fs::read(&file).unwrap().len(), 64 << 10);
}
