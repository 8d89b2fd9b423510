//! What must hold between entities (核查): links that dangle, second certificates, totals that do not add
//! up, deadlines that passed.
//!
//! Reads only. A finding is a matter of the data, not a fault of the store: it goes away when the department that owes
//! the other side delivers it.

use serde::Serialize;

use super::{Engine, EngineError};
use crate::config::{At, Deadline, Link, Register, Until};
use crate::linking::EntityId;
use crate::store::Bond;

/// One thing that must hold in one register, and whether it does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ReviewLine {
    /// Register.
    pub register: String,
    /// `link`, `single`, `totals`, `deadline`.
    pub kind: &'static str,
    /// Its name in the register's file.
    pub name: String,
    /// 名称.
    pub title: String,
    /// Links, entities, totals or deadlines looked at.
    pub looked: u64,
    /// How many of them dangle, are one too many, do not add up, or were missed.
    pub broken: u64,
    /// Of the missed deadlines, those for which nothing was done yet (超期未办).
    #[serde(skip_serializing_if = "is_zero")]
    pub overdue: u64,
    /// How many could not be judged, because the calendar does not reach as far (HL0517).
    #[serde(skip_serializing_if = "is_zero")]
    pub unpublished: u64,
    /// Entities to look at.
    pub examples: Vec<EntityId>,
}

/// Where one link of one entity leads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Linked {
    /// Its name in the register's file.
    pub link: String,
    /// 名称.
    pub title: String,
    /// Register and entity; `None` while it dangles.
    pub to: Option<(String, EntityId)>,
}

impl Engine {
    /// Reviews one register, or all; at most `limit` examples of each finding.
    pub async fn review(&mut self, only: Option<&str>, limit: i64) -> Result<Vec<ReviewLine>, EngineError> {
        let registers: Vec<_> = self.workspace.registers.values().cloned().collect();
        let mut lines = Vec::new();
        for register in registers.iter().filter(|register| only.is_none_or(|name| register.name == name)) {
            let bonds = &register.bonds;
            let links = bonds.links.iter().map(|link| ("link", &link.name, link.title.as_str(), Bond::Link(link)));
            let single = bonds.single.iter().map(|one| ("single", &one.name, one.title.as_str(), Bond::Single(one)));
            let totals = bonds.totals.iter().map(|sum| ("totals", &sum.name, sum.title.as_str(), Bond::Totals(sum)));
            for (kind, name, title, bond) in links.chain(single).chain(totals) {
                lines.push(self.review_bond(register, (kind, name, title), bond, limit).await?);
            }
            for deadline in &bonds.deadlines {
                lines.push(self.review_deadline(register, deadline, limit).await?);
            }
        }
        Ok(lines)
    }

    async fn review_bond(
        &mut self,
        register: &Register,
        (kind, name, title): (&'static str, &At<String>, &str),
        bond: Bond<'_>,
        limit: i64,
    ) -> Result<ReviewLine, EngineError> {
        let found = self.store.review(&register.name, bond, limit).await?;
        Ok(ReviewLine {
            register: register.name.clone(),
            kind,
            name: name.value.clone(),
            title: title.to_owned(),
            looked: found.looked,
            broken: found.broken,
            overdue: found.overdue,
            unpublished: 0,
            examples: found.examples,
        })
    }

    async fn review_deadline(
        &mut self,
        register: &Register,
        deadline: &Deadline,
        limit: i64,
    ) -> Result<ReviewLine, EngineError> {
        let Deadline { name, title, until, done, .. } = deadline;
        let term = match until {
            Until::Field(due) => {
                let bond = Bond::Deadline { due: &due.value, done: &done.value, now: self.now() };
                return self.review_bond(register, ("deadline", name, title), bond, limit).await;
            }
            Until::Counted(term) => term,
        };
        let missed = self.count_term(register, (deadline, term), limit).await?;
        Ok(ReviewLine {
            register: register.name.clone(),
            kind: "deadline",
            name: name.value.clone(),
            title: title.clone(),
            looked: missed.looked,
            broken: missed.broken,
            overdue: missed.overdue,
            unpublished: missed.unpublished,
            examples: missed.examples,
        })
    }

    /// Where the links of an entity lead; links whose field says nothing are left out.
    pub async fn follow(
        &mut self,
        links: &[Link],
        value: impl Fn(&str) -> Option<String> + Send,
    ) -> Result<Vec<Linked>, EngineError> {
        let mut followed = Vec::new();
        for link in links {
            let Some(text) = value(&link.field.value) else { continue };
            let mut to = None;
            for (register, key) in link.targets() {
                let Some(target) = self.workspace.registers.get(register) else { continue };
                let Some(kind) = target.keys.iter().position(|name| name.value == key) else { continue };
                let asked = (kind, std::sync::Arc::from(text.as_str()));
                let known = self.store.known(register, std::slice::from_ref(&asked)).await?;
                to = to.or_else(|| known.entity_of.get(&asked).map(|entity| (register.to_owned(), *entity)));
            }
            followed.push(Linked { link: link.name.value.clone(), title: link.title.clone(), to });
        }
        Ok(followed)
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
const fn is_zero(n: &u64) -> bool {
    *n == 0
}
