//! Two departments, two daemons, two subscribers, and everything that can go wrong: in the end everything is as the
//! generator of the changes says.
//!
//! `make chaos N=1000` disturbs longer; `SEED=…` repeats a run's changes and disturbances (their moments are the machine's).

use std::fs;
use std::time::{Duration, Instant};

use super::dice::Dice;
use super::gate::Gate;
use super::generator::Generator;
use super::judge::{Subscriber, judge};
use super::process::Process;
use super::tormentor::Tormentor;
use crate::support::broker::Vhost;
use crate::support::daemon::huiliu;
use crate::support::services::{Database, service};
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
}

#[tokio::test]
async fn whatever_is_disturbed_in_the_end_everything_is_right() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let disturbances = number("HUILIU_CHAOS").unwrap_or(DISTURBANCES);
    let seed = number("HUILIU_CHAOS_SEED").unwrap_or(7);
    let city = City::new().await;
    let mut processes = city.processes();
    let mut generator = Generator::new(&city.main);
    let databases = [&city.store].into_iter().chain(city.subscribers.iter().map(|s| &s.target)).cloned().collect();
    let mut tormentor = Tormentor::new(databases, city.vhost.name.clone());

    torment(disturbances, seed, (&mut processes, &mut generator, &mut tormentor)).await;
    let calm = Instant::now();
    let mut verdict = catch_up(&city, &mut processes, &generator).await;
    let took = calm.elapsed();
    if verdict.is_ok() {
        // The system is alive: one more change arrives.
        generator.change(&mut Dice::new(seed));
        verdict = catch_up(&city, &mut processes, &generator).await;
    }
    let verdict = verdict.and_then(|()| city.examine(&processes));
    let told = format!(
        "seed {seed}: {} disturbances, {} changes; starts: {:?}; caught up in {took:?}",
        tormentor.done.len(),
        generator.changes,
        processes.iter().map(|process| format!("{} {}", process.name, process.starts)).collect::<Vec<_>>(),
    );
    println!("{told}");
    if let Err(why) = verdict {
        let last = tormentor.done.iter().rev().take(12).rev().map(|one| format!("{one}\n")).collect::<String>();
        let logs = processes.iter().map(|process| tail(&process.name, &process.log())).collect::<String>();
        panic!("{why}\n{told}\n{last}{logs}");
    }
}

/// Changes and disturbances, while what ends is started again.
async fn torment(
    disturbances: u64,
    seed: u64,
    (processes, generator, tormentor): (&mut [Process], &mut Generator<'_>, &mut Tormentor),
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
    async fn new() -> Self {
        let (main, vhost) = (OnPostgres::new(), Vhost::new().await);
        let targets = vec![Database::new().await, Database::new().await];
        let store = main.database().await.unwrap();
        let subscriber = |n: usize| Subscriber {
            feed: format!("{}.enterprise", vhost.subscribers[n]),
            target: targets[n].url(),
            open_only: n == 0,
        };
        let subscribers = vec![subscriber(0), subscriber(1)];
        let mut city = Self { main, vhost, store, subscribers, homes: Vec::new(), _targets: targets };
        city.define();
        city.homes = (0..4).map(|_| Small::empty()).collect();
        let passwords = city.main.path().join("passwords").display().to_string();
        let (code, out, err) = huiliu(city.main.path(), &["feed", "provision", "--password-dir", &passwords]);
        assert_eq!(code, 0, "{out}{err}");
        huiliu::crypto::dev_ca::signer(&city.main.path().join(".huiliu"), crate::support::now()).unwrap();
        city
    }

    /// Pipelines every second, two feeds to RabbitMQ.
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
        fs::remove_file(self.main.path().join("pipelines/feeds/housing.enterprise.yaml")).unwrap();
        let grant = FEED
            .replace("outlet: spool, every: 1m", "outlet: rabbitmq, every: 1s")
            .replace("records: 3", "records: 40");
        let all = grant.replace("rows: status = '在营'\n", "");
        for (subscriber, text) in self.vhost.subscribers.iter().zip([grant, all]) {
            let text = text.replace("subscriber: housing", &format!("subscriber: {subscriber}"));
            self.main.write(&format!("pipelines/feeds/{subscriber}.enterprise.yaml"), text);
        }
        self.install(&self.main, &self.store, &self.vhost.url());
    }

    /// All share one state directory, and with it the signing key.
    fn install(&self, home: &Small, store: &str, broker: &str) {
        let (state, api) = (self.main.path().join(".huiliu"), service("RABBITMQ_API"));
        let serve = "serve: { listen: '127.0.0.1:0', lease: 3s, stop_within: 10s }";
        let text = format!(
            "version: 1\nname: test\nstate_dir: {}\nstore: {store}\nbroker: {broker}\nbroker_api: {api}\n{serve}\n",
            state.display()
        );
        home.write("huiliu.yaml", text);
    }

    /// Two daemons and two receivers, each with its own ways to the servers.
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
            let args = ["receive", "--follow", "--feed", &subscriber.feed, "--trust", &trust];
            let env = [
                ("HUILIU_RECEIVE_FROM", broker),
                ("HUILIU_RECEIVE_TO", postgres.through(&subscriber.target)),
                ("HUILIU_LOG", "info".to_owned()),
            ];
            let name = format!("receiver{}", n - 2);
            all.push(Process::new(&name, home.path(), (postgres, rabbitmq), &args).with(&env));
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
