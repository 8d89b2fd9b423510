//! What goes wrong in a data centre, one thing after another: processes die, sleep and lose track of time, connections
//! break, stall and are refused, servers end them or lose their power, a disk fills. Nothing is deleted.

use std::collections::BTreeMap;
use std::fmt;
use std::process::Child;
use std::time::{Duration, Instant};

use sqlx::{Connection as _, PgConnection};

use super::dice::Dice;
use super::disk::Disk;
use super::gate::Way;
use super::process::Process;
use crate::support::broker::Vhost;
use crate::support::services::OwnServers;

/// A way to go wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// `kill -9` of a process.
    Kill,
    /// A process sleeps, perhaps through its leases, and wakes up.
    Freeze,
    /// The connections of one process to one server break.
    Cut,
    /// They stand still.
    Stall,
    /// They break, and nobody gets through.
    Refuse,
    /// PostgreSQL ends all connections to one database.
    EndBackends,
    /// RabbitMQ closes all connections of the virtual host.
    CloseConnections,
    /// PostgreSQL loses its power.
    RestartPostgres,
    /// RabbitMQ does.
    RestartRabbitMq,
    /// No byte more goes on the disk of the spool and of a subscriber's database.
    FillDisk,
    /// A process's clock is ahead, and put right again.
    ClockAhead,
    /// It is behind, and put right again.
    ClockBehind,
}

/// What comes in every so many disturbances, in an order of chance.
const BAG: [Kind; 15] = [
    Kind::Kill,
    Kind::Kill,
    Kind::Kill,
    Kind::Freeze,
    Kind::Cut,
    Kind::Cut,
    Kind::Stall,
    Kind::Refuse,
    Kind::EndBackends,
    Kind::CloseConnections,
    Kind::RestartPostgres,
    Kind::RestartRabbitMq,
    Kind::FillDisk,
    Kind::ClockAhead,
    Kind::ClockBehind,
];

/// How far clocks go wrong, seconds.
const ASKEW: [u64; 4] = [20, 900, 5 * 3_600, 30 * 3_600];

/// One thing that went wrong.
#[derive(Debug, Clone)]
pub struct Disturbance {
    number: u64,
    what: String,
}

impl fmt::Display for Disturbance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:4} {}", self.number, self.what)
    }
}

/// What is to be put right when its time is over.
#[derive(Debug, Clone, Copy)]
enum Wrong {
    /// The gate of a process; whether PostgreSQL's.
    Gate(usize, bool),
    Frozen(usize),
    Clock(usize),
    Disk,
}

/// Whom it disturbs.
pub struct Victims<'a> {
    /// Databases whose backends it ends.
    pub databases: Vec<String>,
    /// The virtual host whose connections it closes.
    pub vhost: &'a Vhost,
    /// Servers whose power it cuts.
    pub servers: &'a OwnServers,
    /// A disk that it fills.
    pub disk: Disk,
}

/// Disturbs, and remembers what.
pub struct Tormentor<'a> {
    victims: Victims<'a>,
    /// All so far.
    pub done: Vec<Disturbance>,
    /// How often each kind.
    pub kinds: BTreeMap<Kind, u64>,
    bag: Vec<Kind>,
    wrong: Vec<(Wrong, Instant)>,
    restarting: Option<(Kind, Child)>,
}

impl<'a> Tormentor<'a> {
    /// Of these.
    pub fn new(victims: Victims<'a>) -> Self {
        let (done, kinds, bag, wrong) = (Vec::new(), BTreeMap::new(), Vec::new(), Vec::new());
        Self { victims, done, kinds, bag, wrong, restarting: None }
    }

    /// The next thing that goes wrong.
    pub async fn disturb(&mut self, processes: &mut [Process], dice: &mut Dice) {
        let at = dice.among(processes.len());
        let millis = 100 + dice.below(2_900);
        let Some(kind) = self.next_kind(dice) else { return };
        let what = match kind {
            Kind::Kill => {
                processes[at].kill();
                format!("kill -9 {}", processes[at].name)
            }
            Kind::Freeze => {
                // Longer than a lease, now and then.
                let millis = millis * 2;
                processes[at].signal("STOP");
                self.until(Wrong::Frozen(at), millis);
                format!("{} sleeps for {millis} ms", processes[at].name)
            }
            Kind::Cut => {
                let postgres = dice.below(2) == 0;
                gate(&processes[at], postgres).cut();
                format!("cut {}", way(&processes[at], postgres))
            }
            Kind::Stall => self.turn((at, dice.below(2) == 0), Way::Stalled, millis, processes),
            Kind::Refuse => self.turn((at, dice.below(2) == 0), Way::Refused, millis, processes),
            Kind::EndBackends => self.end_backends(dice).await,
            Kind::CloseConnections => {
                let closed = self.victims.vhost.close_shown_connections().await;
                format!("the broker closes all {closed} connections")
            }
            Kind::RestartPostgres | Kind::RestartRabbitMq => self.restart(kind),
            Kind::FillDisk => {
                self.victims.disk.fill();
                self.until(Wrong::Disk, millis);
                format!("{} for {millis} ms", self.victims.disk.kind())
            }
            Kind::ClockAhead | Kind::ClockBehind => {
                let far = ASKEW[dice.among(ASKEW.len())].cast_signed();
                let seconds = if kind == Kind::ClockAhead { far } else { -far };
                processes[at].clock_is_off_by(seconds);
                self.until(Wrong::Clock(at), millis * 2);
                format!("the clock of {} is off by {seconds} s for {} ms", processes[at].name, millis * 2)
            }
        };
        *self.kinds.entry(kind).or_default() += 1;
        let number = self.done.len() as u64 + 1;
        self.done.push(Disturbance { number, what });
    }

    /// From the bag; what cannot go wrong just now stays in it, and is waited for when nothing else is left.
    fn next_kind(&mut self, dice: &mut Dice) -> Option<Kind> {
        self.let_go_of_restarted(false);
        if self.bag.is_empty() {
            self.bag = BAG.to_vec();
        }
        let from = dice.among(self.bag.len());
        let possible = (0..self.bag.len()).map(|n| (from + n) % self.bag.len()).find(|&n| self.may(self.bag[n]));
        possible.map(|n| self.bag.swap_remove(n))
    }

    fn may(&self, kind: Kind) -> bool {
        match kind {
            Kind::RestartPostgres | Kind::RestartRabbitMq => self.restarting.is_none(),
            Kind::EndBackends => !self.is_restarting(Kind::RestartPostgres),
            Kind::CloseConnections => !self.is_restarting(Kind::RestartRabbitMq),
            Kind::FillDisk => !self.victims.disk.full,
            _ => true,
        }
    }

    fn is_restarting(&self, kind: Kind) -> bool {
        self.restarting.as_ref().is_some_and(|(of, _)| *of == kind)
    }

    fn restart(&mut self, kind: Kind) -> String {
        let name = if kind == Kind::RestartPostgres { "postgres" } else { "rabbitmq" };
        self.restarting = self.victims.servers.restart(name).map(|child| (kind, child));
        if self.restarting.is_some() {
            format!("{name} loses its power")
        } else {
            format!("{name} was given by URL and keeps its power")
        }
    }

    /// Whether no server is on its way up any more; waits for one when asked to.
    fn let_go_of_restarted(&mut self, wait: bool) {
        let Some((_, child)) = &mut self.restarting else { return };
        let ended = if wait { Some(child.wait().unwrap()) } else { child.try_wait().unwrap() };
        if let Some(status) = ended {
            assert!(status.success(), "a server did not come up again");
            self.restarting = None;
        }
    }

    fn until(&mut self, wrong: Wrong, millis: u64) {
        self.wrong.push((wrong, Instant::now() + Duration::from_millis(millis)));
    }

    fn turn(&mut self, (at, postgres): (usize, bool), to: Way, millis: u64, processes: &[Process]) -> String {
        gate(&processes[at], postgres).turn(to);
        self.until(Wrong::Gate(at, postgres), millis);
        format!("{to:?} for {millis} ms: {}", way(&processes[at], postgres))
    }

    async fn end_backends(&self, dice: &mut Dice) -> String {
        let databases = &self.victims.databases;
        let which = dice.among(databases.len());
        let mut connection = PgConnection::connect(&databases[which]).await.unwrap();
        let sql = "select count(pg_terminate_backend(pid)) from pg_stat_activity \
                   where datname = current_database() and pid <> pg_backend_pid()";
        let ended: i64 = sqlx::query_scalar(sql).fetch_one(&mut connection).await.unwrap();
        format!("pg_terminate_backend of all {ended} in database {which}")
    }

    /// Puts right what has been wrong for long enough, or everything.
    pub fn heal(&mut self, processes: &mut [Process], all: bool) {
        let (over, still) = self.wrong.drain(..).partition(|(_, until)| all || *until <= Instant::now());
        self.wrong = still;
        let over: Vec<(Wrong, Instant)> = over;
        for (wrong, _) in over {
            match wrong {
                Wrong::Gate(at, postgres) => gate(&processes[at], postgres).turn(Way::Open),
                Wrong::Frozen(at) => processes[at].signal("CONT"),
                Wrong::Clock(at) => processes[at].clock_is_off_by(0),
                Wrong::Disk => self.victims.disk.free(),
            }
        }
        self.let_go_of_restarted(all);
    }
}

fn gate(process: &Process, postgres: bool) -> &super::gate::Gate {
    if postgres { &process.postgres } else { &process.rabbitmq }
}

fn way(process: &Process, postgres: bool) -> String {
    format!("{} to {}", process.name, if postgres { "PostgreSQL" } else { "RabbitMQ" })
}
