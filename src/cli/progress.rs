//! What a person sees while records flow: bars on a terminal, log lines elsewhere.

use std::io::IsTerminal;
use std::sync::Mutex;

use indicatif::{ProgressBar, ProgressStyle};

use crate::engine::Progress;

/// Draws one bar for the file or feed at work.
#[derive(Debug, Default)]
pub struct Bars {
    bar: Mutex<Option<ProgressBar>>,
}

impl Bars {
    /// Bars on stderr when it is a terminal, log lines otherwise.
    pub fn new() -> Self {
        Self::default()
    }

    fn with(&self, act: impl FnOnce(&mut Option<ProgressBar>)) {
        if let Ok(mut bar) = self.bar.lock() {
            act(&mut bar);
        }
    }
}

impl Progress for Bars {
    fn file(&self, pipeline: &str, file: &str, bytes: u64) {
        tracing::info!(pipeline, file, bytes, "taking file");
        if !std::io::stderr().is_terminal() {
            return;
        }
        self.with(|bar| {
            let new = ProgressBar::new(bytes);
            let style = "{msg} {wide_bar} {bytes}/{total_bytes} {elapsed}";
            new.set_style(ProgressStyle::with_template(style).unwrap_or_else(|_| ProgressStyle::default_bar()));
            new.set_message(format!("{pipeline} · {file}"));
            *bar = Some(new);
        });
    }

    fn rows(&self, rows: u64, byte: u64) {
        tracing::debug!(rows, byte, "chunk committed");
        self.with(|bar| {
            if let Some(bar) = bar {
                bar.set_position(byte);
            }
        });
    }

    fn records(&self, feed: &str, records: u64) {
        tracing::debug!(feed, records, "batch delivered");
        if !std::io::stderr().is_terminal() {
            return;
        }
        self.with(|bar| {
            let bar = bar.get_or_insert_with(|| {
                let new = ProgressBar::new_spinner();
                new.set_message(format!("{feed} · 发送 sealing and delivering"));
                new
            });
            bar.inc(records);
            bar.tick();
        });
    }

    fn done(&self) {
        self.with(|bar| {
            if let Some(bar) = bar.take() {
                bar.finish_and_clear();
            }
        });
    }
}
