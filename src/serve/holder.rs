//! Who holds a lease (租约持有者): this process, told apart from every other and from its own earlier lives.
//!
//! Decides: whether a holder has certainly died, so that nobody waits for its leases to end: whoever starts again after
//! a crash goes on at once. Must not know: what leases are about. Guarantees: what cannot be seen from here (another
//! machine, another container, a process behind another namespace of numbers) counts as alive.

use std::fs;

use crate::store::{Lease, LeaseView, Result, Store};

/// The first process of every namespace.
const INIT: u32 = 1;
/// Between the parts of a holder: `host:pid:place-start-random`.
const BETWEEN: char = ':';

/// This process, as the holder of leases.
pub fn this_process() -> String {
    let mut random = [0_u8; 4];
    if getrandom::fill(&mut random).is_err() {
        random = std::process::id().to_le_bytes();
    }
    let (pid, place) = (std::process::id(), place().unwrap_or(0));
    let start = started(pid).unwrap_or(0);
    format!("{}{BETWEEN}{pid}{BETWEEN}{place:08x}-{start:x}-{:08x}", host(), u32::from_le_bytes(random))
}

/// The machine's name.
pub fn host() -> String {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = name.trim();
    if name.is_empty() { "localhost".to_owned() } else { name.to_owned() }
}

/// Gives back the leases whose holders died here; returns their names.
///
/// # Errors
/// Those of the store.
pub async fn give_back_of_the_dead(store: &mut dyn Store) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for LeaseView { name, holder, token, .. } in store.leases().await?.into_iter().filter(is_of_the_dead) {
        store.release_lease(&Lease { name: name.clone(), holder, token }).await?;
        names.push(name);
    }
    Ok(names)
}

fn is_of_the_dead(lease: &LeaseView) -> bool {
    died(lease.holder_process()).unwrap_or(false)
}

/// Whether this holder was a process of this place that is no more; `None` when that cannot be known.
fn died(holder: &str) -> Option<bool> {
    let (rest, marks) = holder.rsplit_once(BETWEEN)?;
    let pid: u32 = rest.rsplit_once(BETWEEN)?.1.parse().ok()?;
    let mut marks = marks.split('-');
    let of = u32::from_str_radix(marks.next()?, 16).ok()?;
    let start = u64::from_str_radix(marks.next()?, 16).ok()?;
    started(INIT)?; // where other users' processes are hidden (proc(5), hidepid), nobody looks alive
    (of == place()? && start > 0).then(|| started(pid) != Some(start))
}

/// Where numbers of processes mean what they mean here: this boot of this machine, this namespace.
fn place() -> Option<u32> {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let namespace = fs::read_link("/proc/self/ns/pid").ok()?;
    let said = format!("{boot}{}", namespace.display());
    Some(u32::try_from(xxhash_rust::xxh3::xxh3_64(said.as_bytes()) >> 32).unwrap_or(0))
}

/// When a process began, in ticks since the machine did; `None` when there is none of this number.
fn started(pid: u32) -> Option<u64> {
    const STARTTIME: usize = 19; // of what follows the name, which may hold anything; proc_pid_stat(5)
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_whitespace().nth(STARTTIME)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_dead_are_told_from_the_living_and_from_strangers() {
        let own = this_process();
        assert_eq!(died(&own), Some(false), "{own}");
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let marks = own.rsplit_once(BETWEEN).unwrap().1;
        let place = marks.split('-').next().unwrap();
        let of_child = format!("h:{}:{place}-{:x}-00000001", child.id(), started(child.id()).unwrap());
        assert_eq!(died(&of_child), Some(false));
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(died(&of_child), Some(true));
        let earlier = format!("h:{}:{place}-1-00000001", std::process::id());
        assert_eq!(died(&earlier), Some(true), "another process has its number now");
        let elsewhere = of_child.replace(place, "00000000");
        assert_eq!((died(&elsewhere), died("command:1:2"), died("")), (None, None, None));
    }
}
