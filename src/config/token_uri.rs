//! Which key on which PKCS#11 token (令牌, HSM) is meant: `pkcs11:` URIs (RFC 7512).
//!
//! Decides: what such a URI may say here. Guarantees: a PIN is never part of one, since it would stand in a file.

use std::fmt;
use std::path::PathBuf;

/// A key on a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenUri {
    /// The library that speaks to the token (`module-path`), absolute.
    pub module: PathBuf,
    /// Which token: label, serial number, manufacturer and model, as far as they are said.
    pub token: Option<String>,
    /// `serial`.
    pub serial: Option<String>,
    /// `manufacturer`.
    pub manufacturer: Option<String>,
    /// `model`.
    pub model: Option<String>,
    /// Which key: its label.
    pub object: Option<String>,
    /// Its id.
    pub id: Option<Vec<u8>>,
    /// As it was written.
    text: String,
}

impl fmt::Display for TokenUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl TokenUri {
    /// Whether a text is meant as one.
    pub fn is_meant_by(text: &str) -> bool {
        text.starts_with("pkcs11:")
    }

    /// Reads one.
    ///
    /// # Errors
    /// What is wrong with it, for people.
    pub fn parse(text: &str) -> Result<Self, String> {
        let rest = text.trim().strip_prefix("pkcs11:").ok_or("it does not begin with pkcs11:")?;
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        let mut uri = Self {
            module: PathBuf::new(),
            token: None,
            serial: None,
            manufacturer: None,
            model: None,
            object: None,
            id: None,
            text: text.trim().to_owned(),
        };
        for part in path.split(';').chain(query.split('&')).filter(|part| !part.is_empty()) {
            let (name, value) = part.split_once('=').ok_or_else(|| format!("{part:?} has no ="))?;
            let bytes = decoded(value).ok_or_else(|| format!("the % of {name} is not followed by two digits"))?;
            let words = || String::from_utf8(bytes.clone()).map_err(|_| format!("{name} is not UTF-8"));
            let place = match name {
                "token" => &mut uri.token,
                "serial" => &mut uri.serial,
                "manufacturer" => &mut uri.manufacturer,
                "model" => &mut uri.model,
                "object" => &mut uri.object,
                "module-path" => {
                    uri.module = PathBuf::from(words()?);
                    continue;
                }
                "id" => {
                    uri.id = Some(bytes);
                    continue;
                }
                "type" if value == "private" => continue,
                "type" => return Err("a key that signs is of type=private".into()),
                "pin-value" | "pin-source" => {
                    return Err("a PIN does not stand in it; write token_pin: env:NAME into huiliu.yaml".into());
                }
                other => {
                    return Err(format!(
                        "{other} is not known; known are token, serial, manufacturer, model, object, id, type, module-path"
                    ));
                }
            };
            if place.replace(words()?).is_some() {
                return Err(format!("{name} stands in it twice"));
            }
        }
        if !uri.module.is_absolute() {
            return Err("it does not say which library speaks to the token: ?module-path=/usr/lib/….so".into());
        }
        if uri.token.is_none() && uri.serial.is_none() {
            return Err("it does not say which token: token=LABEL or serial=NUMBER".into());
        }
        Ok(uri)
    }

    /// The same with this label for the key, where it names none.
    #[must_use]
    pub fn naming(mut self, object: &str) -> Self {
        if self.object.is_none() && self.id.is_none() {
            let (path, query) = self.text.split_once('?').unwrap_or((&self.text, ""));
            self.text = format!("{path};object={object}?{query}");
            self.object = Some(object.to_owned());
        }
        self
    }

    /// The token, for people.
    pub fn token_text(&self) -> String {
        let said = [("", &self.token), ("serial ", &self.serial)];
        said.into_iter()
            .filter_map(|(word, part)| part.as_ref().map(|part| format!("{word}{part}")))
            .collect::<Vec<_>>()
            .join(", ")
    }

    /// The key, for people.
    pub fn key_text(&self) -> String {
        let id = self.id.as_ref().map(|id| id.iter().map(|byte| format!("{byte:02x}")).collect::<String>());
        match (&self.object, id) {
            (Some(object), Some(id)) => format!("{object} (id {id})"),
            (Some(object), None) => object.clone(),
            (None, Some(id)) => format!("id {id}"),
            (None, None) => "of any name".to_owned(),
        }
    }
}

/// Percent-encoding undone (RFC 3986 §2.1).
fn decoded(text: &str) -> Option<Vec<u8>> {
    let mut bytes = text.bytes();
    let mut out = Vec::with_capacity(text.len());
    let digit = |byte: Option<u8>| char::from(byte?).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    while let Some(byte) = bytes.next() {
        out.push(if byte == b'%' { digit(bytes.next())? << 4 | digit(bytes.next())? } else { byte });
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uri_names_library_token_and_key() {
        let text = "pkcs11:token=%E6%95%B0%E6%8D%AE%E5%B1%80;object=sign-2026;id=%01%aB;type=private?module-path=/usr/lib/x.so";
        let uri = TokenUri::parse(text).unwrap();
        assert_eq!((uri.token.as_deref(), uri.object.as_deref()), (Some("数据局"), Some("sign-2026")));
        assert_eq!((uri.id.as_deref(), uri.module.to_str()), (Some(&[1, 0xAB][..]), Some("/usr/lib/x.so")));
        assert_eq!((uri.to_string().as_str(), uri.key_text().as_str()), (text, "sign-2026 (id 01ab)"));
        assert_eq!(uri.clone().naming("other"), uri);
        let bare = TokenUri::parse("pkcs11:serial=7?module-path=/x.so").unwrap().naming("k");
        assert_eq!(bare, TokenUri::parse("pkcs11:serial=7;object=k?module-path=/x.so").unwrap());
    }

    #[test]
    fn what_is_none_says_why() {
        for (text, why) in [
            ("file:x", "begin with pkcs11:"),
            ("pkcs11:token=a", "module-path"),
            ("pkcs11:token=a?module-path=x.so", "module-path"),
            ("pkcs11:object=a?module-path=/x.so", "which token"),
            ("pkcs11:token=a;pin-value=1234?module-path=/x.so", "token_pin: env:NAME"),
            ("pkcs11:token=a?module-path=/x.so&pin-source=file:/p", "token_pin: env:NAME"),
            ("pkcs11:token=a;slot=1?module-path=/x.so", "slot is not known"),
            ("pkcs11:token=a;token=b?module-path=/x.so", "twice"),
            ("pkcs11:token=%4?module-path=/x.so", "two digits"),
            ("pkcs11:token=%ff?module-path=/x.so", "UTF-8"),
            ("pkcs11:token=a;type=cert?module-path=/x.so", "type=private"),
            ("pkcs11:token?module-path=/x.so", "has no ="),
        ] {
            let said = TokenUri::parse(text).unwrap_err();
            assert!(said.contains(why) && !said.contains("1234"), "{text}: {said}");
        }
    }
}
