//! The data keys in the store: made, unwrapped, wrapped anew, renewed; and what of the store is encrypted with them.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use super::super::{Result, Store, StoreError};
use crate::config::TokenUri;
use crate::crypto::at_rest::{DataKeys, Generation, MasterKey, Wrapper};
use crate::crypto::{CryptoError, KeyRing};
use crate::error::Problem;
use crate::record::FieldType;

/// Before the number of a data key's note.
const KEY: &str = "key.";
/// Before the name of a register.
const FIELDS: &str = "fields.";

/// Whoever wraps data keys, as `at_rest: master_key` names it; keys on tokens by way of `ring`.
///
/// # Errors
/// HL0406 when it is no key; those of a token.
pub fn master(written: &str, ring: &KeyRing) -> std::result::Result<Box<dyn Wrapper>, Problem> {
    if TokenUri::is_meant_by(written) {
        return ring.master_on_token(on_token(written)?).map_err(|error| Problem::from(&error));
    }
    match MasterKey::from_text(written) {
        Some(key) => Ok(Box::new(key)),
        None => Err(Problem::error("HL0406", "at_rest: master_key is no master key")
            .detail("expected 32 bytes in base64, 44 characters")
            .hint("make one: huiliu key rest new FILE, then at_rest: { master_key: file:FILE }")),
    }
}

/// The key on a token that this names.
///
/// # Errors
/// HL0406 when it does not read.
pub fn on_token(written: &str) -> std::result::Result<TokenUri, Problem> {
    TokenUri::parse(written).map_err(|what| {
        Problem::error("HL0406", "at_rest: master_key names no key on a token")
            .detail(what)
            .hint("pkcs11:token=NAME;object=KEY?module-path=/path/to/library.so")
    })
}

/// A data key as the store keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataKeyView {
    /// Which, from 1.
    #[serde(skip_deserializing)]
    pub generation: Generation,
    /// The master key that wraps it.
    pub master: String,
    /// When it was made, microseconds.
    pub made: i64,
    /// When it was last wrapped, microseconds.
    pub wrapped_at: i64,
    wrapped: String,
}

/// The data keys that a store has, oldest first; none where nothing is encrypted.
pub async fn data_keys(store: &mut dyn Store) -> Result<Vec<DataKeyView>> {
    let mut keys = Vec::new();
    for (name, note) in store.at_rest_notes().await? {
        let Some(generation) = name.strip_prefix(KEY) else { continue };
        let read = serde_json::from_str::<DataKeyView>(&note).ok().zip(generation.parse().ok());
        let (view, generation) = read.ok_or_else(|| StoreError::Damaged(format!("{name} does not read")))?;
        keys.push(DataKeyView { generation, ..view });
    }
    keys.sort_by_key(|key| key.generation);
    Ok(keys)
}

/// Encrypted fields by register, with their types.
pub async fn encrypted_fields(store: &mut dyn Store) -> Result<BTreeMap<String, BTreeMap<String, FieldType>>> {
    let mut all = BTreeMap::new();
    for (name, note) in store.at_rest_notes().await? {
        let Some(register) = name.strip_prefix(FIELDS) else { continue };
        let field = |entry: &str| {
            let (field, kind) = entry.split_once(':')?;
            Some((field.to_owned(), FieldType::from_name(kind)?))
        };
        let fields = note.split(' ').filter(|entry| !entry.is_empty()).map(field).collect::<Option<_>>();
        let fields = fields.ok_or_else(|| StoreError::Damaged(format!("{name} does not read")))?;
        all.insert(register.to_owned(), fields);
    }
    Ok(all)
}

/// The note of a register's encrypted fields.
pub(super) fn fields_note(register: &str, fields: &BTreeMap<String, FieldType>) -> (String, String) {
    let fields: Vec<String> = fields.iter().map(|(name, kind)| format!("{name}:{}", kind.name())).collect();
    (format!("{FIELDS}{register}"), fields.join(" "))
}

/// The store's data keys, unwrapped. A store in which there is nothing yet gets its first one.
pub(super) async fn unwrapped(store: &mut dyn Store, wrapper: &dyn Wrapper, at: i64) -> Result<DataKeys> {
    let mut stored = data_keys(store).await?;
    if stored.is_empty() {
        if !store.streams().await?.is_empty() {
            return Err(refused(
                Problem::error("HL0408", "the store was begun without encryption")
                    .detail("huiliu.yaml has at_rest:, and what is in the store is plain")
                    .hint("name a new store (store:) and run again from the sources, or take at_rest: away"),
            ));
        }
        let mut first = DataKeys::default();
        first.renew().map_err(|error| StoreError::Unavailable(error.to_string()))?;
        // Of two processes that begin a store one is the first; both go on with its key.
        store.note_at_rest(&notes(&first, &[], (wrapper, at))?, false).await?;
        stored = data_keys(store).await?;
    }
    let mut keys = DataKeys::default();
    for key in &stored {
        let wrapped = STANDARD.decode(&key.wrapped).unwrap_or_default();
        let opened = wrapper.unwrap(&wrapped).map_err(of_token)?.ok_or_else(|| {
            let problem = Problem::error("HL0407", "the master key does not open the store's data key");
            let detail = format!("the store's is {}, huiliu.yaml names {}", key.master, wrapper.id());
            refused(
                problem.detail(detail).hint("name the right key under at_rest: master_key; without it nothing opens"),
            )
        })?;
        keys.put(key.generation, opened);
    }
    Ok(keys)
}

/// Wraps the store's data keys under another master key (轮换); nothing else is written.
///
/// # Errors
/// HL0407 when `from` does not open them.
pub async fn rotate(store: &mut dyn Store, (from, to): (&dyn Wrapper, &dyn Wrapper), at: i64) -> Result<()> {
    let keys = unwrapped(store, from, at).await?;
    let stored = data_keys(store).await?;
    store.note_at_rest(&notes(&keys, &stored, (to, at))?, true).await
}

/// Makes a new data key for whatever is written from now on.
///
/// # Errors
/// HL0407 when `wrapper` does not open those that are there.
pub async fn renew(store: &mut dyn Store, wrapper: &dyn Wrapper, at: i64) -> Result<Generation> {
    let mut keys = unwrapped(store, wrapper, at).await?;
    let stored = data_keys(store).await?;
    let made = keys.renew().map_err(|error| StoreError::Unavailable(error.to_string()))?;
    let made = made.ok_or_else(|| refused(Problem::error("HL0414", "the store has had 255 data keys already")))?;
    store.note_at_rest(&notes(&keys, &stored, (wrapper, at))?, true).await?;
    Ok(made)
}

/// Data keys as they are kept; what was made before keeps its time.
fn notes(keys: &DataKeys, before: &[DataKeyView], (wrapper, at): (&dyn Wrapper, i64)) -> Result<Vec<(String, String)>> {
    let wrapped = keys.wrapped(wrapper).map_err(of_token)?;
    let note = |(generation, wrapped): (Generation, Vec<u8>)| {
        let made = before.iter().find(|key| key.generation == generation).map_or(at, |key| key.made);
        let wrapped = STANDARD.encode(wrapped);
        let view = DataKeyView { generation, master: wrapper.id(), made, wrapped_at: at, wrapped };
        let text = serde_json::to_string(&view).map_err(|error| StoreError::Damaged(error.to_string()))?;
        Ok((format!("{KEY}{generation}"), text))
    };
    wrapped.into_iter().map(note).collect()
}

/// Makes sure that a store of which nothing is to be encrypted has nothing encrypted.
///
/// # Errors
/// HL0409 when it has.
pub async fn plain(mut store: Box<dyn Store>) -> Result<Box<dyn Store>> {
    match data_keys(store.as_mut()).await?.first() {
        None => Ok(store),
        Some(key) => Err(refused(
            Problem::error("HL0409", "the store is encrypted, and huiliu.yaml names no master key")
                .detail(format!("its data key is wrapped by master key {}", key.master))
                .hint("write at_rest: { master_key: file:PATH } into huiliu.yaml"),
        )),
    }
}

/// What a token says that cannot wrap or unwrap just now.
fn of_token(error: CryptoError) -> StoreError {
    refused(Problem::from(&error))
}

pub(super) fn refused(problem: Problem) -> StoreError {
    StoreError::Refused(Box::new(problem))
}
