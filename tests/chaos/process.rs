//! A process that is started again whenever it ends, as a service manager does, and writes its log into a file.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::gate::Gate;

/// The shortest time between two starts.
const PAUSE: Duration = Duration::from_millis(500);

/// `huiliu …`, supervised, with its own ways to PostgreSQL and RabbitMQ.
pub struct Process {
    /// For people.
    pub name: String,
    /// Its way to PostgreSQL.
    pub postgres: Gate,
    /// Its way to RabbitMQ.
    pub rabbitmq: Gate,
    /// How often it was started.
    pub starts: u32,
    dir: PathBuf,
    args: Vec<String>,
    env: Vec<(String, String)>,
    child: Option<Child>,
    started: Instant,
    pause: Duration,
}

impl Process {
    /// Not started yet.
    pub fn new(name: &str, dir: &Path, (postgres, rabbitmq): (Gate, Gate), args: &[&str]) -> Self {
        Self {
            name: name.to_owned(),
            postgres,
            rabbitmq,
            starts: 0,
            dir: dir.to_owned(),
            args: args.iter().map(|arg| (*arg).to_owned()).collect(),
            env: Vec::new(),
            child: None,
            started: Instant::now() - PAUSE,
            pause: PAUSE,
        }
    }

    /// With these variables.
    pub fn with(mut self, env: &[(&str, String)]) -> Self {
        self.env = env.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        self
    }

    /// Started again no sooner than this after its last start.
    pub fn every(mut self, pause: Duration) -> Self {
        self.pause = pause;
        self
    }

    /// Starts it if it does not run.
    pub fn supervise(&mut self) {
        if let Some(child) = &mut self.child
            && child.try_wait().unwrap().is_none()
        {
            return;
        }
        if self.started.elapsed() < self.pause {
            return;
        }
        let log = File::options().create(true).append(true).open(self.log_file()).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_huiliu"))
            .arg("--dir")
            .arg(&self.dir)
            .args(&self.args)
            .env("HUILIU_LOG_FORMAT", "json")
            .env("HUILIU_CLOCK_OFF", self.clock_file())
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .stdout(Stdio::null())
            .stderr(log)
            .spawn();
        self.child = Some(child.unwrap());
        self.starts += 1;
        self.started = Instant::now();
    }

    /// `STOP`, `CONT`; to nobody when it does not run.
    pub fn signal(&self, name: &str) {
        if let Some(child) = &self.child {
            Command::new("kill").arg(format!("-{name}")).arg(child.id().to_string()).output().unwrap();
        }
    }

    /// Sets the clock that it believes in: seconds ahead of the right time.
    pub fn clock_is_off_by(&self, seconds: i64) {
        let under_way = self.dir.join("clock.part");
        fs::write(&under_way, seconds.to_string()).unwrap();
        fs::rename(under_way, self.clock_file()).unwrap();
    }

    fn clock_file(&self) -> PathBuf {
        self.dir.join("clock")
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().ok();
            child.wait().ok();
        }
    }

    /// Everything it has said in all its lives.
    pub fn log(&self) -> String {
        fs::read(self.log_file()).map(|log| String::from_utf8_lossy(&log).into_owned()).unwrap_or_default()
    }

    fn log_file(&self) -> PathBuf {
        self.dir.join(format!("{}.log", self.name))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}
