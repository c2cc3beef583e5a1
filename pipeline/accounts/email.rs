//! E-mail addresses: their syntax, and which two are one.

use std::fmt;

use email_address::{EmailAddress, Options};
use serde::{Deserialize, Serialize};

/// The longest address (RFC 5321 4.5.3.1.3, less the angle brackets), in bytes.
const EMAIL_BYTES_MAX: usize = 254;

/// Not an e-mail address; the caller's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is not an e-mail address")]
pub struct EmailProblem;

/// An address as its owner writes it. `Debug` doesn't show it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Email(String);

impl Email {
    /// The address that `text` is (RFC 5321, RFC 6531): without a display
    /// name, at a domain name of at least two labels. Whether somebody reads
    /// what is sent there is not known.
    ///
    /// # Errors
    /// [`EmailProblem`].
    pub fn parse(text: &str) -> Result<Self, EmailProblem> {
        let options =
            Options::default().with_required_tld().without_display_text().without_domain_literal();
        if text.len() > EMAIL_BYTES_MAX || text.chars().any(char::is_control) {
            return Err(EmailProblem);
        }
        EmailAddress::parse_with_options(text, options)
            .map(|_| Self(text.to_owned()))
            .map_err(|_| EmailProblem)
    }

    /// The address itself.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// By what addresses are told apart. The case of the local part may matter
    /// by RFC 5321, but no provider lets two people differ in it alone.
    pub(crate) fn key(&self) -> String {
        super::name::folded(&self.0)
    }
}

impl fmt::Debug for Email {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Email(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_told_from_other_texts() {
        for good in ["a@example.com", "first.last+tag@sub.example.org", "用户@例子.广告"] {
            assert!(Email::parse(good).is_ok(), "{good}");
        }
        let long = format!("{}@example.com", "x".repeat(250));
        for bad in [
            "",
            "a",
            "a@",
            "@b.c",
            "a@b",
            "a@@b.c",
            "a b@c.de",
            "Ann <a@example.com>",
            "a@[127.0.0.1]",
            "a@example.com\r\nBcc: b@example.com",
            "a@-x.com",
            &long,
        ] {
            assert_eq!(Email::parse(bad), Err(EmailProblem), "{bad:?}");
        }
    }

    #[test]
    fn case_makes_no_other_address() {
        let one = Email::parse("Ann@Example.COM").unwrap();
        assert_eq!(one.key(), Email::parse("ann@example.com").unwrap().key());
        assert!(!format!("{one:?}").contains("Ann"));
    }
}
