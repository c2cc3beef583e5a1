//! Which version of a stream's picture or sound a record belongs to.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// One rendition of a stream: one media playlist, one track.
///
/// Its text form (`audio`, `source`, `720p`) names it in URLs, on disk, in
/// metrics and in the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rendition {
    /// The sound, as published.
    Audio,
    /// The picture as published, or re-encoded at its own size if its keyframes are unusable.
    Source,
    /// An encoded picture of this height in pixels.
    Rung(u16),
}

impl Rendition {
    /// Whether this rendition holds pictures.
    #[must_use]
    pub fn is_video(self) -> bool {
        !matches!(self, Self::Audio)
    }

    /// Orders by how much of the broadcast is in it: the published picture is
    /// highest, then encoded ones by their height, then the sound.
    #[must_use]
    pub fn rank(self) -> u32 {
        match self {
            Self::Source => u32::MAX,
            Self::Rung(height) => u32::from(height) + 1,
            Self::Audio => 0,
        }
    }
}

impl fmt::Display for Rendition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Audio => f.write_str("audio"),
            Self::Source => f.write_str("source"),
            Self::Rung(height) => write!(f, "{height}p"),
        }
    }
}

/// The text names no rendition.
#[derive(Debug, thiserror::Error)]
#[error("not a rendition: {0:?} (expected audio, source or a height such as 720p)")]
pub struct ParseRenditionError(String);

impl FromStr for Rendition {
    type Err = ParseRenditionError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let unknown = || ParseRenditionError(text.chars().take(32).collect());
        match text {
            "audio" => Ok(Self::Audio),
            "source" => Ok(Self::Source),
            _ => {
                let height = text.strip_suffix('p').ok_or_else(unknown)?;
                // One name per rendition: "0720p" or "+720p" would be a second one.
                if height.starts_with(['0', '+']) {
                    return Err(unknown());
                }
                height.parse().map(Self::Rung).map_err(|_| unknown())
            }
        }
    }
}

impl Serialize for Rendition {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Rendition {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// What an encoded rendition should be: one step of the ladder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rung {
    /// Picture height in pixels, even, 2..=4320; the width follows the source's shape.
    pub height: u16,
    /// Target video bitrate in kbit/s.
    pub bitrate_kbps: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_form_round_trips_and_is_unique() {
        for rendition in [Rendition::Audio, Rendition::Source, Rendition::Rung(720)] {
            assert_eq!(rendition.to_string().parse::<Rendition>().unwrap(), rendition);
        }
        for bad in ["", "p", "720", "0720p", "+720p", "-1p", "99999p", "Audio"] {
            assert!(bad.parse::<Rendition>().is_err(), "{bad}");
        }
    }
}
