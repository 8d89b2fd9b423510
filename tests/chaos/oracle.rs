//! Two departments, two daemons, three subscribers, and everything that can go wrong: in the end everything is as the
//! generator of the changes says.
//!
//! `make chaos N=1000` disturbs longer; `SEED=…` repeats a run's changes and disturbances (their moments are the machine's).

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::dice::Dice;
use super::disk::Disk;
use super::gate::Gate;
use super::generator::Generator;
use super::judge::{Subscriber, answered, judge};
use super::process::Process;
use super::tormentor::{Tormentor, Victims};
use crate::support::broker::Vhost;
use crate::support::daemon::huiliu;
use crate::support::services::{Database, OwnServers};
use crate::support::{FEED, OnPostgres, Small};

/// Disturbances of a usual run.
const DISTURBANCES: u64 = 30;
/// The longest time to catch up once nothing is disturbed any more.
const CATCHING_UP: Duration = Duration::from_secs(240);
/// What no log may say: lost or forked batches, books that do not balance, faults.
const NEVER: &[&str] = &["HL0740", "HL0741", "HL0743", "HL0504", "HL0599", "internal fault"];

/// Everything that works, and where it works.
struct City {
    main: OnPostgres,
    vhost: Vhost,
    store: String,
    subscribers: Vec<Subscriber>,
    /// Directories of the processes.
    homes: Vec<Small>,
    _targets: Vec<Database>,
    /// The spool, and the subscriber who reads it.
    small_disk: PathBuf,
}

#[tokio::test]
async fn whatever_is_disturbed_in_the_end_everything_is_right() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let disturbances = number("HUILIU_CHAOS").unwrap_or(DISTURBANCES);
    let seed = number("HUILIU_CHAOS_SEED").unwrap_or(7);
    let servers = OwnServers::start();
    let disk = Disk::new(64 + disturbances / 8);
    let city = City::new(&servers, &disk).await;
    let mut processes = city.processes();
    let mut generator = Generator::new(&city.main);
    let mut tormentor = Tormentor::new(city.victims(&servers, disk));

    torment(disturbances, seed, (&mut processes, &mut generator, &mut tormentor)).await;
    let calm = Instant::now();
    let mut verdict = catch_up(&city, &mut processes, &generator).await;
    let took = calm.elapsed();
    if verdict.is_ok() {
        // The system is alive: one more change arrives.
        generator.change(&mut Dice::new(seed));
        verdict = catch_up(&city, &mut processes, &generator).await;
    }
    let verdict = match verdict.and_then(|()| city.examine(&processes)) {
        Ok(()) => answered(&city.main, &city.subscribers).await,
        wrong => wrong,
    };
    let starts: Vec<String> = processes.iter().map(|process| format!("{} {}", process.name, process.starts)).collect();
    let told = format!(
        "seed {seed}: {} disturbances {:?}, {} changes; starts: {starts:?}; caught up in {took:?}",
        tormentor.done.len(),
        tormentor.kinds,
        generator.changes,
    );
    println!("{told}");
    if let Err(why) = verdict {
        let last = tormentor.done.iter().rev().take(15).rev().map(|one| format!("{one}\n")).collect::<String>();
        let logs = processes.iter().map(|process| tail(&process.name, &process.log())).collect::<String>();
        panic!("{why}\n{told}\n{last}{logs}");
    }
}

/// Changes and disturbances, while what ends is started again.
async fn torment(
    disturbances: u64,
    seed: u64,
    (processes, generator, tormentor): (&mut [Process], &mut Generator<'_>, &mut Tormentor<'_>),
) {
    let (mut changing, mut disturbing) = (Dice::new(seed), Dice::new(!seed));
    let (mut next_change, mut next_disturbance) = (Instant::now(), Instant::now() + Duration::from_secs(2));
    let mut tick = tokio::time::interval(Duration::from_millis(50));
    while (tormentor.done.len() as u64) < disturbances {
        tick.tick().await;
        tormentor.heal(processes, false);
        processes.iter_mut().for_each(Process::supervise);
        if next_change <= Instant::now() {
            generator.change(&mut changing);
            next_change = Instant::now() + Duration::from_millis(200 + changing.below(1_500));
        }
        if next_disturbance <= Instant::now() {
            tormentor.disturb(processes, &mut disturbing).await;
            next_disturbance = Instant::now() + Duration::from_millis(100 + disturbing.below(1_300));
        }
    }
    tormentor.heal(processes, true);
}

/// Waits until everything is right; else what is not.
async fn catch_up(city: &City, processes: &mut [Process], generator: &Generator<'_>) -> Result<(), String> {
    let until = Instant::now() + CATCHING_UP;
    let expected = generator.expected();
    let mut tick = tokio::time::interval(Duration::from_millis(500));
    loop {
        tick.tick().await;
        processes.iter_mut().for_each(Process::supervise);
        let verdict = judge(&city.main, &expected, &city.subscribers).await;
        if verdict.is_ok() || until <= Instant::now() {
            return verdict;
        }
    }
}

impl City {
    async fn new(servers: &OwnServers, disk: &Disk) -> Self {
        let (postgres, broker) = (servers.url("POSTGRES"), (servers.url("RABBITMQ"), servers.url("RABBITMQ_API")));
        let main = OnPostgres::on(Database::on(&postgres).await);
        let vhost = Vhost::on(broker).await;
        let targets = vec![Database::on(&postgres).await, Database::on(&postgres).await];
        let store = main.database().await.unwrap();
        let subscriber = |n: usize| Subscriber {
            feed: format!("{}.enterprise", vhost.subscribers[n]),
            target: targets[n].url(),
            open_only: n == 0,
        };
        let by_file = Subscriber {
            feed: "housing.enterprise".into(),
            target: format!("sqlite:{}", disk.path().join("housing.db").display()),
            open_only: true,
        };
        let subscribers = vec![subscriber(0), subscriber(1), by_file];
        let small_disk = disk.path().to_owned();
        let mut city = Self { main, vhost, store, subscribers, homes: Vec::new(), _targets: targets, small_disk };
        city.define();
        city.homes = (0..5).map(|_| Small::empty()).collect();
        let passwords = city.main.path().join("passwords").display().to_string();
        let (code, out, err) = huiliu(city.main.path(), &["feed", "provision", "--password-dir", &passwords]);
        assert_eq!(code, 0, "{out}{err}");
        // Certificates of before every clock that a disturbance sets.
        let before = huiliu::clock::Clock::System.now() - chrono::TimeDelta::days(3);
        huiliu::crypto::dev_ca::signer(&city.main.path().join(".huiliu"), before).unwrap();
        city
    }

    fn victims<'a>(&'a self, servers: &'a OwnServers, disk: Disk) -> Victims<'a> {
        let queued = self.subscribers.iter().filter(|subscriber| subscriber.has_a_queue());
        let databases = [&self.store].into_iter().chain(queued.map(|s| &s.target)).cloned().collect();
        Victims { databases, vhost: &self.vhost, servers, disk }
    }

    /// Pipelines every second, two feeds to RabbitMQ, one into the spool.
    fn define(&self) {
        let root = format!("root: {}/out", self.main.path().display());
        for system in ["gs", "tax"] {
            let path = format!("connectors/{system}.yaml");
            let text = fs::read_to_string(self.main.path().join(&path)).unwrap();
            self.main.write(&path, text.replace("root: out", &root));
        }
        for (name, from) in [("qy", "gs.qy"), ("nsr", "tax.nsr")] {
            let text = format!("version: 1\nfrom: {from}\ninto: [enterprise]\nschedule: '* * * * * *'\n");
            self.main.write(&format!("pipelines/{name}.yaml"), text);
        }
        let spooled = FEED.replace("every: 1m", "every: 1s").replace("records: 3", "records: 40");
        self.main.write("pipelines/feeds/housing.enterprise.yaml", &spooled);
        let grant = spooled.replace("outlet: spool", "outlet: rabbitmq");
        let all = grant.replace("rows: status = '在营'\n", "");
        for (subscriber, text) in self.vhost.subscribers.iter().zip([grant, all]) {
            let text = text.replace("subscriber: housing", &format!("subscriber: {subscriber}"));
            self.main.write(&format!("pipelines/feeds/{subscriber}.enterprise.yaml"), text);
        }
        self.install(&self.main, &self.store, &self.vhost.url());
    }

    /// All share one state directory, and with it the signing key.
    fn install(&self, home: &Small, store: &str, broker: &str) {
        let (state, spool) = (self.main.path().join(".huiliu"), self.small_disk.join("spool"));
        let api = self.vhost.api();
        let serve = "serve: { listen: '127.0.0.1:0', lease: 3s, stop_within: 10s }";
        let text = format!(
            "version: 1\nname: test\nstate_dir: {}\nspool: {}\nstore: {store}\nbroker: {broker}\n\
             broker_api: {api}\n{serve}\n",
            state.display(),
            spool.display(),
        );
        home.write("huiliu.yaml", text);
    }

    /// Two daemons and three receivers, each with its own ways to the servers.
    fn processes(&self) -> Vec<Process> {
        let gates = || (Gate::to(&self.store), Gate::to(&self.vhost.url()));
        let mut all = Vec::new();
        for (n, home) in self.homes.iter().enumerate() {
            let (postgres, rabbitmq) = gates();
            let broker = rabbitmq.through(&self.vhost.url());
            if n < 2 {
                copy(&self.main, home);
                self.install(home, &postgres.through(&self.store), &broker);
                all.push(Process::new(&format!("daemon{n}"), home.path(), (postgres, rabbitmq), &["serve"]));
                continue;
            }
            let subscriber = &self.subscribers[n - 2];
            let trust = self.main.path().join(".huiliu/dev-ca.pem").display().to_string();
            let mut args = vec!["receive", "--feed", &subscriber.feed, "--trust", &trust];
            let (mut from, mut to) = (broker, postgres.through(&subscriber.target));
            if subscriber.has_a_queue() {
                args.push("--follow");
            } else {
                from = format!("spool:{}", self.small_disk.join("spool").display());
                to = subscriber.target.clone();
            }
            let env = [("HUILIU_RECEIVE_FROM", from), ("HUILIU_RECEIVE_TO", to), ("HUILIU_LOG", "info".to_owned())];
            let process = Process::new(&format!("receiver{}", n - 2), home.path(), (postgres, rabbitmq), &args);
            // Who reads a spool looks once, and again after a while.
            let every = if subscriber.has_a_queue() { 500 } else { 2_000 };
            all.push(process.with(&env).every(Duration::from_millis(every)));
        }
        all
    }

    /// What takes long, and what only the logs tell.
    fn examine(&self, processes: &[Process]) -> Result<(), String> {
        for verb in [&["doctor"][..], &["feed", "receipts", "--once"]] {
            let (code, out, err) = huiliu(self.main.path(), verb);
            if code != 0 {
                return Err(format!("{verb:?} ends with {code}:\n{out}{err}"));
            }
        }
        for process in processes {
            let log = process.log();
            if let Some(line) = log.lines().find(|line| NEVER.iter().any(|never| line.contains(never))) {
                return Err(format!("{} said: {line}", process.name));
            }
        }
        Ok(())
    }
}

/// The definitions of one workspace in another.
fn copy(from: &Small, to: &Small) {
    let mut waiting = ["connectors", "mappings", "pipelines"].map(|dir| from.path().join(dir)).to_vec();
    while let Some(path) = waiting.pop() {
        if path.is_dir() {
            waiting.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        } else {
            to.write(path.strip_prefix(from.path()).unwrap().to_str().unwrap(), fs::read(&path).unwrap());
        }
    }
}

fn tail(name: &str, log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    let last = lines.len().saturating_sub(15);
    format!("--- {name}\n{}\n", lines[last..].join("\n"))
}
