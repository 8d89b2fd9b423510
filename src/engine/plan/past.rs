//! What pipelines and feeds last worked with: as the store keeps it, or as another set of files says it.

use std::collections::BTreeMap;

use crate::config::{Feed, Pipeline, Workspace};
use crate::engine::flow::Flow;
use crate::engine::{Engine, EngineError};
use crate::store::WorkedWith;

/// Files by path: digest and text.
pub(super) type Files = BTreeMap<String, (String, String)>;

/// By owner, `pipeline/qy` or `feed/housing.enterprise`: the files that it worked with.
#[derive(Debug, Clone, Default)]
pub struct Past {
    owners: BTreeMap<String, Files>,
}

impl Past {
    /// Other definitions, as if all of them had been run.
    pub fn of(workspace: &Workspace) -> Self {
        let pipelines = workspace.pipelines.values();
        let pipelines = pipelines.map(|pipeline| (owner_of_pipeline(&pipeline.name), of_pipeline(workspace, pipeline)));
        let feeds = workspace.feeds.values().map(|feed| (owner_of_feed(&feed.name), of_feed(workspace, feed)));
        Self { owners: pipelines.chain(feeds).collect() }
    }

    /// The files of this owner.
    pub(super) fn files(&self, owner: &str) -> Option<&Files> {
        self.owners.get(owner)
    }

    /// Whether nothing ever ran.
    pub(super) fn is_empty(&self) -> bool {
        self.owners.is_empty()
    }

    /// Names of the pipelines (`pipeline/`) or feeds (`feed/`) that there were.
    pub(super) fn names(&self, kind: &str) -> impl Iterator<Item = String> {
        self.owners.keys().filter_map(move |owner| owner.strip_prefix(kind)).map(str::to_owned)
    }

    /// Files that differ for this owner from what it would work with now.
    pub(super) fn changed(&self, owner: &str, now: &Files) -> Vec<String> {
        let nothing = Files::new();
        let before = self.owners.get(owner).unwrap_or(&nothing);
        let differs = |path: &&String| before.get(*path).map(|(digest, _)| digest) != now.get(*path).map(|(d, _)| d);
        let all: std::collections::BTreeSet<&String> = before.keys().chain(now.keys()).collect();
        all.into_iter().filter(differs).cloned().collect()
    }
}

/// Texts by path.
pub(super) fn texts(files: &Files) -> BTreeMap<String, String> {
    files.iter().map(|(path, (_, text))| (path.clone(), text.clone())).collect()
}

pub(super) fn owner_of_pipeline(name: &str) -> String {
    format!("pipeline/{name}")
}

pub(super) fn owner_of_feed(name: &str) -> String {
    format!("feed/{name}")
}

pub(super) fn of_pipeline(workspace: &Workspace, pipeline: &Pipeline) -> Files {
    with_texts(workspace, workspace.files_of_pipeline(pipeline))
}

pub(super) fn of_feed(workspace: &Workspace, feed: &Feed) -> Files {
    with_texts(workspace, workspace.files_of_feed(feed))
}

fn with_texts(workspace: &Workspace, digests: BTreeMap<String, String>) -> Files {
    let text = |path: &str| workspace.texts.get(path).cloned();
    digests.into_iter().filter_map(|(path, digest)| Some((path.clone(), (digest, text(&path)?)))).collect()
}

impl Engine {
    /// What was last worked with, by the store.
    pub async fn past(&mut self) -> Result<Past, EngineError> {
        let mut owners: BTreeMap<String, Files> = BTreeMap::new();
        for kept in self.store.definitions(None).await? {
            owners.entry(kept.owner).or_default().insert(kept.path, (kept.digest, kept.text));
        }
        Ok(Past { owners })
    }

    /// Notes that a pipeline works with its present files from now on.
    pub(in crate::engine) async fn note_pipeline(&mut self, flow: &Flow) -> Result<(), EngineError> {
        let files = of_pipeline(&self.workspace, &flow.pipeline);
        let with = WorkedWith { owner: owner_of_pipeline(&flow.pipeline.name), files, at: self.now() };
        Ok(self.store.note_definitions(&with).await?)
    }

    /// Notes which mappings a run uses.
    pub(in crate::engine) async fn note_versions(&mut self, run: i64, flow: &Flow) -> Result<(), EngineError> {
        let versions: Vec<_> = flow.lanes.iter().map(|lane| (lane.stream, lane.version.as_str())).collect();
        Ok(self.store.note_versions(run, &versions).await?)
    }

    /// Notes that a feed is released under its present files from now on.
    pub(in crate::engine) async fn note_feed(&mut self, feed: &Feed) -> Result<(), EngineError> {
        let files = of_feed(&self.workspace, feed);
        let with = WorkedWith { owner: owner_of_feed(&feed.name), files, at: self.now() };
        Ok(self.store.note_definitions(&with).await?)
    }
}
