//! The rules of a server's rooms, from its configuration and the files that it names.
//!
//! Enters: the configuration. Leaves: rules, compiled, and the emotes. Ends with the
//! start of the server: whoever changes a file starts it again.
//! Never here: what a rule means.

use std::path::{Path, PathBuf};

use moderate::{LinkPolicy, Rules, RulesConfig, RulesError};

use super::emotes::{EmoteError, Emotes};
use crate::config;

/// Longest file of what may not be said.
const BLOCKED_BYTES_MAX: u64 = 4 << 20;

/// Why the rules can't be used; the operator's to mend.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The file can't be read.
    #[error("chat.blocked: cannot read {path}: {source}")]
    Blocked {
        /// Which file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// It is too long.
    #[error("chat.blocked: {0} has more than 4 MiB")]
    Long(PathBuf),
    /// A rule can't be used.
    #[error("chat: {0}")]
    Rules(#[from] RulesError),
    /// An emote can't be used.
    #[error("chat.emotes: {0}")]
    Emotes(#[from] EmoteError),
}

/// The rules, and the emotes that they know.
///
/// # Errors
/// [`SettingsError`].
pub fn rules(config: &config::Chat) -> Result<(Rules, Emotes), SettingsError> {
    let emotes = Emotes::open(config.emotes.as_deref())?;
    let (blocked_words, blocked_patterns) = match &config.blocked {
        Some(path) => blocked(path)?,
        None => Default::default(),
    };
    let rules = Rules::compile(RulesConfig {
        chars_max: config.chars_max,
        user_per_minute: config.user_per_minute,
        room_per_minute: config.room_per_minute,
        links: links(&config.links),
        refuse_look_alikes: config.look_alikes,
        blocked_words,
        blocked_patterns,
        emotes: emotes.codes(),
        ..RulesConfig::default()
    })?;
    Ok((rules, emotes))
}

fn links(text: &str) -> LinkPolicy {
    match text.trim() {
        "allow" => LinkPolicy::Allow,
        "refuse" => LinkPolicy::Refuse,
        domains => LinkPolicy::Only(domains.split(',').map(|d| d.trim().to_owned()).collect()),
    }
}

/// Words and patterns, a line each.
fn blocked(path: &Path) -> Result<(Vec<String>, Vec<String>), SettingsError> {
    let failed = |source| SettingsError::Blocked { path: path.into(), source };
    if std::fs::metadata(path).map_err(failed)?.len() > BLOCKED_BYTES_MAX {
        return Err(SettingsError::Long(path.into()));
    }
    let text = std::fs::read_to_string(path).map_err(failed)?;
    let (mut words, mut patterns) = (Vec::new(), Vec::new());
    for line in text.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with('#')) {
        match line.strip_prefix('/').and_then(|rest| rest.strip_suffix('/')) {
            Some(pattern) => patterns.push(pattern.to_owned()),
            None => words.push(line.to_owned()),
        }
    }
    Ok((words, patterns))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    #[test]
    fn files_are_read_and_what_is_wrong_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("blocked.txt");
        let mut config = Config::default().chat;
        config.blocked = Some(path.clone());
        let error = rules(&config).unwrap_err().to_string();
        assert!(error.contains("blocked.txt"), "{error}");
        std::fs::write(&path, "# people read this\n\nfoo*\n/ba+r/\n").unwrap();
        assert_eq!(blocked(&path).unwrap(), (vec!["foo*".to_owned()], vec!["ba+r".to_owned()]));
        assert!(rules(&config).is_ok());
        std::fs::write(&path, "/ba(r/\n").unwrap();
        let error = rules(&config).unwrap_err().to_string();
        assert!(error.contains("ba(r"), "{error}");
        config.blocked = None;
        config.links = "not a domain!".into();
        assert!(rules(&config).unwrap_err().to_string().contains("not a domain"));
    }
}
