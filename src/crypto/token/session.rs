//! Open sessions with tokens. A PKCS#11 library is one for a whole process, by its standard: so is what is kept here.
//!
//! Decides: which token is meant, when a session is begun anew, what each answer of a library means. Guarantees: one call
//! at a time; after any failure that may pass, library and sessions are begun anew with the next call.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{LazyLock, Mutex, PoisonError};

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error, RvError};
use cryptoki::mechanism::MechanismType;
use cryptoki::object::{Attribute, ObjectHandle};
use cryptoki::session::{Session, UserType};
use cryptoki::slot::{Slot, TokenInfo};
use cryptoki::types::AuthPin;

use super::super::CryptoError;
use super::RefusedPins;
use crate::config::{Password, TokenUri};

/// Libraries that are loaded, with their sessions by token.
static MODULES: LazyLock<Mutex<HashMap<PathBuf, Module>>> = LazyLock::new(Mutex::default);

struct Module {
    sessions: HashMap<String, (Slot, Session)>,
    context: Pkcs11,
}

/// Who asks for which key, with which PIN.
pub(super) struct Holder {
    pub uri: TokenUri,
    pub pin: Option<Password>,
    pub refused: RefusedPins,
}

/// A session in which the PIN was accepted.
pub(super) struct Entered<'a> {
    pub session: &'a Session,
    context: &'a Pkcs11,
    slot: Slot,
    uri: &'a TokenUri,
}

impl Holder {
    pub const fn new(uri: TokenUri, pin: Option<Password>, refused: RefusedPins) -> Self {
        Self { uri, pin, refused }
    }

    /// Does something on the token, in the session that is open or, when that does not answer any more, in a new one.
    pub fn enter<T>(
        &self,
        writes: bool,
        act: impl Fn(&Entered<'_>) -> Result<T, CryptoError>,
    ) -> Result<T, CryptoError> {
        let mut modules = MODULES.lock().unwrap_or_else(PoisonError::into_inner);
        let had = modules.get(&self.uri.module).is_some_and(|module| module.sessions.contains_key(&self.place(writes)));
        match self.attempt(&mut modules, writes, &act) {
            Err(error) if had && is_stale(&error) => self.attempt(&mut modules, writes, &act),
            done => done,
        }
    }

    fn place(&self, writes: bool) -> String {
        format!("{} {writes}", self.uri.token_text())
    }

    fn attempt<T>(
        &self,
        modules: &mut HashMap<PathBuf, Module>,
        writes: bool,
        act: &impl Fn(&Entered<'_>) -> Result<T, CryptoError>,
    ) -> Result<T, CryptoError> {
        let mut module = match modules.remove(&self.uri.module) {
            Some(module) => module,
            None => Module { sessions: HashMap::new(), context: load(&self.uri)? },
        };
        let place = self.place(writes);
        let done = self.session(&mut module, &place, writes).and_then(|()| {
            let (slot, session) = module.sessions.get(&place).ok_or_else(|| away(&self.uri, "no session"))?;
            act(&Entered { session, context: &module.context, slot: *slot, uri: &self.uri })
        });
        if done.as_ref().is_err_and(is_stale) {
            let Module { sessions, context } = module;
            drop(sessions);
            // Of a library that is beyond answering, the next load tells.
            if let Err(error) = context.finalize() {
                tracing::debug!(%error, "a PKCS#11 library did not end");
            }
        } else {
            modules.insert(self.uri.module.clone(), module);
        }
        done
    }

    fn session(&self, module: &mut Module, place: &str, writes: bool) -> Result<(), CryptoError> {
        if module.sessions.contains_key(place) {
            return Ok(());
        }
        let (slot, info) = self.slot(&module.context)?;
        let open = if writes { module.context.open_rw_session(slot) } else { module.context.open_ro_session(slot) };
        let session = say(&self.uri, open)?;
        if info.login_required() {
            self.log_in(&session, &info)?;
        }
        module.sessions.insert(place.to_owned(), (slot, session));
        Ok(())
    }

    /// The one slot with the token that the URI names.
    fn slot(&self, context: &Pkcs11) -> Result<(Slot, TokenInfo), CryptoError> {
        let uri = &self.uri;
        let fits = |info: &TokenInfo| {
            let same =
                |wanted: &Option<String>, found: &str| wanted.as_ref().is_none_or(|wanted| wanted == found.trim_end());
            info.token_initialized()
                && same(&uri.token, info.label())
                && same(&uri.serial, info.serial_number())
                && same(&uri.manufacturer, info.manufacturer_id())
                && same(&uri.model, info.model())
        };
        let mut found = Vec::new();
        for slot in say(uri, context.get_slots_with_token())? {
            // A token that is pulled out while it is asked is not there.
            found.extend(context.get_token_info(slot).ok().filter(&fits).map(|info| (slot, info)));
        }
        match (found.pop(), found.len()) {
            (Some(one), 0) => Ok(one),
            (Some(_), _) => Err(CryptoError::TokenObject {
                token: uri.token_text(),
                what: "several tokens are called so; say which by serial=".into(),
            }),
            (None, _) => Err(away(uri, "it is not there")),
        }
    }

    fn log_in(&self, session: &Session, info: &TokenInfo) -> Result<(), CryptoError> {
        let (token, place) = (self.uri.token_text(), info.serial_number().trim_end());
        let refused = |what: &str| CryptoError::Pin { token: token.clone(), what: what.to_owned() };
        let pin = self.pin.as_ref().ok_or_else(|| refused("it wants one and none is given"))?;
        if info.user_pin_locked() {
            return Err(refused("it has locked itself; its security officer unlocks it"));
        }
        match self.refused.has(place, pin)? {
            Some(true) => {
                let kept = self.refused.place().unwrap_or_default();
                return Err(refused(&format!("this one was refused before and is not tried again; see {kept}")));
            }
            None if info.user_pin_count_low() => {
                return Err(refused("a wrong one was entered since the last right one; log in by hand first"));
            }
            _ if info.user_pin_final_try() => {
                return Err(refused("it has one try left; log in by hand first"));
            }
            _ => {}
        }
        match session.login(UserType::User, Some(&AuthPin::new(pin.reveal().into()))) {
            Err(Error::Pkcs11(RvError::PinIncorrect | RvError::PinInvalid | RvError::PinLenRange, _)) => {
                self.refused.add(place, pin)?;
                Err(refused("it is wrong; it is not tried again"))
            }
            Err(Error::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => Ok(()),
            done => say(&self.uri, done),
        }
    }
}

impl Entered<'_> {
    /// What a library answered, in our words.
    pub fn say<T>(&self, done: Result<T, Error>) -> Result<T, CryptoError> {
        say(self.uri, done)
    }

    /// The token does not do what it should.
    pub fn away(&self, why: &str) -> CryptoError {
        away(self.uri, why)
    }

    /// The objects that fit.
    pub fn find(&self, template: &[Attribute]) -> Result<Vec<ObjectHandle>, CryptoError> {
        self.say(self.session.find_objects(template))
    }

    /// The token must have this mechanism.
    pub fn demand(&self, mechanism: MechanismType) -> Result<(), CryptoError> {
        if self.say(self.context.get_mechanism_list(self.slot))?.contains(&mechanism) {
            return Ok(());
        }
        Err(CryptoError::Mechanism { what: format!("the token {} does not have {mechanism}", self.uri.token_text()) })
    }
}

/// Whether a session that gave this error is of no more use. One whose token was pulled out may say that there is no such
/// key: only a new one tells.
const fn is_stale(error: &CryptoError) -> bool {
    matches!(error, CryptoError::TokenAway { .. } | CryptoError::TokenObject { .. })
}

/// Loads a library and begins it. One that is there and does not begin may be missing its token.
fn load(uri: &TokenUri) -> Result<Pkcs11, CryptoError> {
    let path = || uri.module.display().to_string();
    let context =
        Pkcs11::new(&uri.module).map_err(|error| CryptoError::TokenModule { path: path(), why: error.to_string() })?;
    match context.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)) {
        Ok(()) | Err(Error::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => Ok(context),
        Err(error) => Err(away(uri, &format!("its library does not begin: {error}"))),
    }
}

fn away(uri: &TokenUri, why: &str) -> CryptoError {
    CryptoError::TokenAway { token: uri.token_text(), why: why.to_owned() }
}

/// Everything that is not known to stay may pass: a library has no one way to say that its token is gone.
fn say<T>(uri: &TokenUri, done: Result<T, Error>) -> Result<T, CryptoError> {
    done.map_err(|error| match &error {
        Error::Pkcs11(
            RvError::PinExpired | RvError::PinLocked | RvError::UserPinNotInitialized | RvError::PinTooWeak,
            _,
        ) => CryptoError::Pin { token: uri.token_text(), what: error.to_string() },
        Error::Pkcs11(
            RvError::MechanismInvalid
            | RvError::MechanismParamInvalid
            | RvError::CurveNotSupported
            | RvError::KeyTypeInconsistent
            | RvError::KeyFunctionNotPermitted
            | RvError::FunctionNotSupported,
            _,
        )
        | Error::NullFunctionPointer
        | Error::NotSupported => CryptoError::Mechanism { what: format!("the token {}: {error}", uri.token_text()) },
        Error::Pkcs11(
            RvError::TokenWriteProtected | RvError::AttributeValueInvalid | RvError::TemplateInconsistent,
            _,
        ) => CryptoError::TokenObject { token: uri.token_text(), what: error.to_string() },
        _ => away(uri, &error.to_string()),
    })
}
