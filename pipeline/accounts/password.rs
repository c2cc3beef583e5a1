//! Passwords as people type them, and what they may be.

use std::fmt;

use serde::{Deserialize, Serialize};
use unicode_normalization::UnicodeNormalization;
use zeroize::Zeroizing;

use crate::name::are_alike;

/// The shortest password, in characters (OWASP: at least 8).
pub const PASSWORD_CHARS_MIN: usize = 8;
/// The longest password, in characters.
pub const PASSWORD_CHARS_MAX: usize = 128;

/// A password in the clear. `Debug` doesn't show it.
#[derive(Clone)]
pub struct Password(Zeroizing<String>);

/// What is wrong with a new password; the caller's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PasswordProblem {
    /// Too short or too long.
    #[error("a password has {PASSWORD_CHARS_MIN} to {PASSWORD_CHARS_MAX} characters")]
    Length,
    /// It is what everybody would try first.
    #[error("a password isn't one's name or e-mail address")]
    Guessable,
}

impl Password {
    /// What somebody typed. Keyboards differ in how they compose an accent, so
    /// it is brought to normal form C (RFC 8265 4.2.1).
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        let given = Zeroizing::new(text.into());
        if given.is_ascii() {
            return Self(given);
        }
        // Room for all of it, so that no part of it stays behind in memory on the way.
        let mut normal = Zeroizing::new(String::with_capacity(given.len() * 3));
        normal.extend(given.nfc());
        Self(normal)
    }

    /// Whether it may become the password of somebody called `name`.
    pub(crate) fn check(&self, name: &str, email: Option<&str>) -> Result<(), PasswordProblem> {
        let chars = self.0.chars().take(PASSWORD_CHARS_MAX + 1).count();
        if !(PASSWORD_CHARS_MIN..=PASSWORD_CHARS_MAX).contains(&chars) {
            return Err(PasswordProblem::Length);
        }
        let is_known = |text: &str| are_alike(text, &self.0);
        match is_known(name) || email.is_some_and(is_known) {
            true => Err(PasswordProblem::Guessable),
            false => Ok(()),
        }
    }

    /// None: longer than any that was accepted, so it is nobody's.
    pub(crate) fn bytes(&self) -> Option<&[u8]> {
        (self.0.len() <= 4 * PASSWORD_CHARS_MAX).then_some(self.0.as_bytes())
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(…)")
    }
}

/// A hashed password, as a PHC string. `Debug` doesn't show it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct PasswordHash(pub(crate) String);

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guessable_passwords_are_refused() {
        let check = |text: &str| Password::new(text).check("Anna_Smith", Some("anna@example.com"));
        assert_eq!(check("1234567"), Err(PasswordProblem::Length));
        assert_eq!(check(&"x".repeat(129)), Err(PasswordProblem::Length));
        assert_eq!(check("ANNA_smith"), Err(PasswordProblem::Guessable));
        assert_eq!(check("Anna@Example.com"), Err(PasswordProblem::Guessable));
        assert_eq!(check("12345678"), Ok(()));
        assert_eq!(check(&"ü".repeat(128)), Ok(()));
    }
}
