//! What goes wrong in a data centre, one thing after another: processes die, connections break, stall and are refused,
//! servers end them. Nothing is deleted.

use std::fmt;
use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::Value as Json;
use sqlx::{Connection as _, PgConnection};

use super::dice::Dice;
use super::gate::Way;
use super::process::Process;
use crate::support::broker::api;

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

/// Disturbs, and remembers what.
pub struct Tormentor {
    /// Databases whose backends it ends.
    databases: Vec<String>,
    vhost: String,
    /// All so far.
    pub done: Vec<Disturbance>,
    /// Gates that are not open: of which process, whether PostgreSQL's, until when.
    turned: Vec<(usize, bool, Instant)>,
}

impl Tormentor {
    /// Of these databases and this virtual host.
    pub fn new(databases: Vec<String>, vhost: String) -> Self {
        Self { databases, vhost, done: Vec::new(), turned: Vec::new() }
    }

    /// The next thing that goes wrong.
    pub async fn disturb(&mut self, processes: &mut [Process], dice: &mut Dice) {
        let at = usize::try_from(dice.below(processes.len() as u64)).unwrap();
        let millis = 100 + dice.below(2_900);
        let what = match dice.below(9) {
            0..=2 => {
                processes[at].kill();
                format!("kill -9 {}", processes[at].name)
            }
            3 | 4 => {
                let postgres = dice.below(2) == 0;
                gate(&processes[at], postgres).cut();
                format!("cut {}", way(&processes[at], postgres))
            }
            5 => self.turn((at, dice.below(2) == 0), Way::Stalled, millis, processes),
            6 => self.turn((at, dice.below(2) == 0), Way::Refused, millis, processes),
            7 => self.end_backends(dice).await,
            _ => self.close_broker_connections().await,
        };
        let number = self.done.len() as u64 + 1;
        self.done.push(Disturbance { number, what });
    }

    fn turn(&mut self, (at, postgres): (usize, bool), to: Way, millis: u64, processes: &[Process]) -> String {
        gate(&processes[at], postgres).turn(to);
        self.turned.push((at, postgres, Instant::now() + Duration::from_millis(millis)));
        format!("{to:?} for {millis} ms: {}", way(&processes[at], postgres))
    }

    async fn end_backends(&self, dice: &mut Dice) -> String {
        let which = usize::try_from(dice.below(self.databases.len() as u64)).unwrap();
        let mut connection = PgConnection::connect(&self.databases[which]).await.unwrap();
        let sql = "select count(pg_terminate_backend(pid)) from pg_stat_activity \
                   where datname = current_database() and pid <> pg_backend_pid()";
        let ended: i64 = sqlx::query_scalar(sql).fetch_one(&mut connection).await.unwrap();
        format!("pg_terminate_backend of all {ended} in database {which}")
    }

    async fn close_broker_connections(&self) -> String {
        let all = api(Method::GET, &["vhosts", &self.vhost, "connections"], Json::Null).await;
        let names: Vec<&str> = all.as_array().unwrap().iter().filter_map(|one| one["name"].as_str()).collect();
        for name in &names {
            api(Method::DELETE, &["connections", name], Json::Null).await;
        }
        format!("the broker closes all {} connections", names.len())
    }

    /// Opens gates whose time is over, or all.
    pub fn heal(&mut self, processes: &[Process], all: bool) {
        let over = |until: Instant| all || until <= Instant::now();
        for (at, postgres, _) in self.turned.iter().filter(|(.., until)| over(*until)) {
            gate(&processes[*at], *postgres).turn(Way::Open);
        }
        self.turned.retain(|(.., until)| !over(*until));
    }
}

fn gate(process: &Process, postgres: bool) -> &super::gate::Gate {
    if postgres { &process.postgres } else { &process.rabbitmq }
}

fn way(process: &Process, postgres: bool) -> String {
    format!("{} to {}", process.name, if postgres { "PostgreSQL" } else { "RabbitMQ" })
}
