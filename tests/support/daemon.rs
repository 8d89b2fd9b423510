//! A daemon as a process of its own: its log as JSON, its answers over HTTP, its signals.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;

/// The longest that a test waits for anything.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Default)]
struct Log {
    lines: Mutex<Vec<Value>>,
    more: Condvar,
}

/// `huiliu serve` on a port of its own.
pub struct Daemon {
    child: Child,
    log: Arc<Log>,
}

impl Daemon {
    /// Starts it and waits until it listens.
    pub fn start(dir: &Path) -> Self {
        Self::with(dir, &[], &[])
    }

    /// With further arguments and environment.
    pub fn with(dir: &Path, args: &[&str], env: &[(&str, &str)]) -> Self {
        let daemon = Self::spawn(dir, args, env);
        daemon.wait_for("listening");
        daemon
    }

    /// Starts it and waits for nothing.
    pub fn spawn(dir: &Path, args: &[&str], env: &[(&str, &str)]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_huiliu"))
            .arg("--dir")
            .arg(dir)
            .args(["serve", "--listen", "127.0.0.1:0"])
            .args(args)
            .env("HUILIU_LOG_FORMAT", "json")
            .envs(env.iter().copied())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = Arc::new(Log::default());
        let (out, kept) = (child.stderr.take().unwrap(), Arc::clone(&log));
        std::thread::spawn(move || {
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                let line = serde_json::from_str(&line).unwrap_or(Value::String(line));
                kept.lines.lock().unwrap().push(line);
                kept.more.notify_all();
            }
        });
        Self { child, log }
    }

    /// Waits for a log line with this message.
    pub fn wait_for(&self, message: &str) -> Value {
        self.wait_until(message, |line| line["message"] == message)
    }

    /// Waits until so many lines say that a job is done.
    pub fn wait_for_done(&self, job: &str, times: usize) {
        let mut seen = 0;
        self.wait_until(job, |line| {
            seen += usize::from(line["message"] == "done" && line["job"] == job);
            seen >= times
        });
    }

    /// Waits for the first log line that fits.
    pub fn wait_until(&self, what: &str, mut fits: impl FnMut(&Value) -> bool) -> Value {
        let until = Instant::now() + PATIENCE;
        let mut lines = self.log.lines.lock().unwrap();
        let mut looked = 0;
        loop {
            while looked < lines.len() {
                looked += 1;
                if fits(&lines[looked - 1]) {
                    return lines[looked - 1].clone();
                }
            }
            let left = until.checked_duration_since(Instant::now());
            let left = left.unwrap_or_else(|| panic!("never came: {what}\n{}", text(&lines)));
            lines = self.log.more.wait_timeout(lines, left).unwrap().0;
        }
    }

    /// The whole log.
    pub fn log(&self) -> String {
        text(&self.log.lines.lock().unwrap())
    }

    /// Asks until the answer fits; the answer.
    pub fn ask_until(&self, path: &str, fits: impl Fn(u16, &str) -> bool) -> String {
        let until = Instant::now() + PATIENCE;
        let pause = (Mutex::new(()), Condvar::new());
        loop {
            let (status, body) = self.ask(path);
            if fits(status, &body) {
                return body;
            }
            assert!(Instant::now() < until, "{path} never fitted: {status}\n{body}\n{}", self.log());
            drop(pause.1.wait_timeout(pause.0.lock().unwrap(), Duration::from_millis(200)).unwrap());
        }
    }

    /// One answer: status and body.
    pub fn ask(&self, path: &str) -> (u16, String) {
        let address = self.wait_for("listening")["address"].as_str().unwrap().to_owned();
        let mut stream = TcpStream::connect(&address).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
    }

    /// Sends a signal: `HUP`, `TERM`, `KILL`.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").arg(format!("-{name}")).arg(self.child.id().to_string()).status().unwrap();
        assert!(sent.success());
    }

    /// Waits for its end.
    pub fn end(mut self) -> (ExitStatus, String) {
        let until = Instant::now() + PATIENCE;
        let pause = (Mutex::new(()), Condvar::new());
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return (status, self.log());
            }
            assert!(Instant::now() < until, "it does not end:\n{}", self.log());
            drop(pause.1.wait_timeout(pause.0.lock().unwrap(), Duration::from_millis(50)).unwrap());
        }
    }

    /// `TERM`, and a good end.
    pub fn stop(self) {
        self.signal("TERM");
        let (status, log) = self.end();
        assert!(status.success(), "{status}\n{log}");
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn text(lines: &[Value]) -> String {
    lines.iter().map(|line| format!("{line}\n")).collect()
}

/// The value of a metric, by name and labels as written.
pub fn metric(text: &str, series: &str) -> Option<f64> {
    text.lines().find_map(|line| line.strip_prefix(series)?.trim().parse().ok())
}

/// Runs a verb; exit code, stdout, stderr.
pub fn huiliu(dir: &Path, args: &[&str]) -> (i32, String, String) {
    let out = Command::new(env!("CARGO_BIN_EXE_huiliu")).arg("--dir").arg(dir).args(args).output().unwrap();
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    (out.status.code().unwrap_or(-1), text(&out.stdout), text(&out.stderr))
}
