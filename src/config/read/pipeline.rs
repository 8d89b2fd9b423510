//! `pipelines/<flow>.yaml`.

use super::super::shape::{Key, Kind, Naming, Shape, Word};
use super::super::units::{ByteSize, Percent, Rate, span};
use super::super::view::View;
use super::super::{At, Check, DatasetRef, LagLimit, Limits, MissedRun, Pipeline};
use super::VERSION;

/// The table.
pub(in crate::config) const PIPELINE: Shape = Shape {
    title: "流程 pipeline",
    about: "One dataset through its mappings into registers, with schedule, checks and limits.",
    keys: &[
        VERSION,
        Key::optional("title", "名称 title", Kind::Text, "What people call it."),
        Key::required("from", "来源 from", Kind::Text, "The dataset: system.dataset."),
        Key::required(
            "into",
            "去向 into",
            Kind::List(&Kind::Text),
            "Registers, each through mappings/<system>/<dataset>.<register>.sql.",
        ),
        Key::optional("schedule", "计划 schedule", Kind::Cron, "When it runs, in the installation's zone."),
        Key::optional(
            "missed",
            "错过 missed",
            Kind::Word(MISSED),
            "When a scheduled time passed and nothing could run.",
        )
        .or("run"),
        Key::optional("within", "时限 within", Kind::Span, "Promised freshness; late is an alert."),
        Key::optional("lag", "滞后 lag", Kind::Map(&LAG), "How far behind its source it may be; beyond is an alert."),
        Key::optional(
            "check",
            "检查 check",
            Kind::Each(Naming::Plain, &Kind::Text),
            "Named predicates over the run's counts (rows, quarantined, mapped, vanished, last.rows, last.mapped); \
             a false one holds the run.",
        ),
        Key::optional("limit", "限制 limit", Kind::Map(&LIMIT), "Bounds of a run."),
    ],
};

const MISSED: &[Word] = &[
    Word::now("run", "补跑一次 One run makes up for all that was missed."),
    Word::now("skip", "跳过 The next scheduled time counts."),
];

const LAG: Shape = Shape {
    title: "滞后上限 lag",
    about: "How far behind a source's log (kind: cdc) a run may find itself when it begins.",
    keys: &[
        Key::optional("time", "时间 time", Kind::Span, "Age of the oldest change that was not taken."),
        Key::optional("bytes", "字节 bytes", Kind::Bytes, "Bytes of the log that were not taken."),
    ],
};

const LIMIT: Shape = Shape {
    title: "限制 limit",
    about: "Bounds of a run.",
    keys: &[
        Key::optional(
            "quarantine",
            "问题数据 quarantine",
            Kind::Percent,
            "More rows set aside than this: hold the run.",
        )
        .or("5%"),
        Key::optional("rate", "速度 rate", Kind::Rate, "Rows per second; as fast as it goes when absent."),
        Key::optional("memory", "内存 memory", Kind::Bytes, "Memory for decoding and mapping.").or("512MiB"),
    ],
};

/// Reads a whole pipeline.
pub(in crate::config) fn read(name: &str, view: View<'_>) -> Pipeline {
    let (from, lag, limit) = (view.get("from"), view.get("lag"), view.get("limit"));
    Pipeline {
        name: name.to_owned(),
        title: view.get("title").maybe(),
        from: At { value: dataset_ref(&from.text()), place: from.place() },
        into: view.get("into").texts(),
        schedule: view.get("schedule").maybe_at(),
        missed: match view.get("missed").raw() {
            Some("skip") => MissedRun::Skip,
            _ => MissedRun::Run,
        },
        within: view.get("within").parsed(|text| span::parse(text).ok()),
        lag: lag.is_written().then(|| At {
            value: LagLimit {
                time: lag.get("time").parsed(|text| span::parse(text).ok()),
                bytes: lag.get("bytes").parsed(|text| ByteSize::parse(text).ok()),
            },
            place: lag.place(),
        }),
        checks: view
            .get("check")
            .each()
            .into_iter()
            .map(|(name, view)| Check { name: name.value, predicate: view.text_at() })
            .collect(),
        limits: Limits {
            quarantine: limit.get("quarantine").parsed(|text| Percent::parse(text).ok()).unwrap_or(Percent(0.0)),
            rate: limit.get("rate").parsed(|text| Rate::parse(text).ok()),
            memory: limit.get("memory").parsed(|text| ByteSize::parse(text).ok()).unwrap_or(ByteSize(0)),
        },
    }
}

/// `system.dataset`; without a dot the dataset is empty, which no dataset is called.
fn dataset_ref(text: &str) -> DatasetRef {
    let (system, dataset) = text.split_once('.').unwrap_or((text, ""));
    DatasetRef { system: system.to_owned(), dataset: dataset.to_owned() }
}
