//! What a person names on the command line, found among the definitions — or a problem with the names there are.

use crate::config::{Feed, Field, Register, Workspace};
use crate::error::Problem;
use crate::store::{EntityView, Store};

/// The register (基础库) of this name.
pub(super) fn register<'a>(workspace: &'a Workspace, name: &str) -> Result<&'a Register, Problem> {
    let names = workspace.registers.keys().map(String::as_str);
    workspace.registers.get(name).ok_or_else(|| unknown("register", name, names))
}

/// The field (字段) of this name.
pub(super) fn field<'a>(register: &'a Register, name: &str) -> Result<&'a Field, Problem> {
    let names = register.fields.iter().map(|field| field.name.as_str());
    register.field(name).ok_or_else(|| unknown("field", name, names))
}

/// The feed (订阅) of this name.
pub(super) fn feed<'a>(workspace: &'a Workspace, name: &str) -> Result<&'a Feed, Problem> {
    let names = workspace.feeds.keys().map(String::as_str);
    workspace.feeds.get(name).ok_or_else(|| unknown("feed", name, names))
}

/// `system.dataset`, if a connector has it.
pub(super) fn dataset(workspace: &Workspace, name: &str) -> Result<(), Problem> {
    let all = workspace.connectors.values();
    let names: Vec<String> = all
        .flat_map(|connector| connector.datasets.keys().map(|dataset| format!("{}.{dataset}", connector.system)))
        .collect();
    if names.iter().any(|known| known == name) {
        return Ok(());
    }
    Err(unknown("dataset", name, names.iter().map(String::as_str)))
}

/// The entity (实体) that a key value or `#id` names.
pub(super) async fn entity(store: &mut dyn Store, register: &Register, key: &str) -> anyhow::Result<EntityView> {
    let found = store.entity(&register.name, key).await?;
    let keys: Vec<&str> = register.keys.iter().map(|key| key.value.as_str()).collect();
    Ok(found.ok_or_else(|| {
        Problem::error("HL0813", format!("register \"{}\" has no entity with this key", register.name))
            .detail(format!("looked among {} and entity numbers", keys.join(", ")))
            .hint(format!("`huiliu register find {} FIELD TEXT` looks for a part of any field", register.name))
    })?)
}

/// The number of the entity (实体) that a key value or `#id` names; `#id` also of one that the register no longer has.
pub(super) async fn id(store: &mut dyn Store, register: &Register, key: &str) -> anyhow::Result<i64> {
    match entity(store, register, key).await {
        Ok(entity) => Ok(entity.id),
        Err(error) => {
            let number = key.strip_prefix('#').and_then(|id| id.parse::<i64>().ok());
            let Some(id) = number else { return Err(error) };
            if store.ever_holding(id).await?.is_empty() { Err(error) } else { Ok(id) }
        }
    }
}

fn unknown<'a>(kind: &str, name: &str, valid: impl Iterator<Item = &'a str>) -> Problem {
    let valid: Vec<&str> = valid.collect();
    let detail = if valid.is_empty() { "there are none".to_owned() } else { format!("there are {}", valid.join(", ")) };
    Problem::error("HL0812", format!("there is no {kind} \"{name}\"")).detail(detail).did_you_mean(name, valid)
}
