//! What a multivariant playlist must say (bis 4.4.6; A 9).

use super::{Findings, Violation};
use crate::playlist::MultivariantPlaylist;

/// Judges a multivariant playlist.
#[must_use]
pub fn multivariant(playlist: &MultivariantPlaylist) -> Vec<Violation> {
    let mut found = Findings::default();
    found.check(
        playlist.independent_segments,
        "A 9.11 INDEPENDENT-SEGMENTS in the multivariant playlist",
        String::new,
    );
    found.check(
        playlist.playable().next().is_some(),
        "bis 4.4.6.2 at least one variant",
        String::new,
    );
    for variant in &playlist.variants {
        let uri = || variant.uri.clone();
        let video = is_video(&variant.codecs) || variant.resolution.is_some();
        found.check(
            variant.average_bandwidth.is_some(),
            "A 9 AVERAGE-BANDWIDTH on every variant",
            uri,
        );
        found.check(
            variant.average_bandwidth.is_none_or(|average| average <= variant.bandwidth),
            "bis 4.4.6.2 average no higher than peak bandwidth",
            uri,
        );
        found.check(!variant.codecs.is_empty(), "A 9 CODECS on every variant", uri);
        found.check(
            !video || variant.resolution.is_some(),
            "A 9 RESOLUTION on every variant with pictures",
            uri,
        );
        if variant.i_frames {
            continue;
        }
        found.check(
            !video || variant.frame_rate.is_some(),
            "A 9 FRAME-RATE on every variant with pictures",
            uri,
        );
        found.check(
            !video || variant.closed_captions.is_some(),
            "A 4.3 CLOSED-CAPTIONS on every variant",
            uri,
        );
        if let Some(group) = &variant.audio {
            let exists = playlist.media.iter().any(|m| m.kind == "AUDIO" && m.group == *group);
            found.check(exists, "bis 4.4.6.2.1 the named audio group exists", || group.clone());
            found.check(
                variant.codecs.iter().any(|codec| is_audio(codec)),
                "bis 4.4.6.2 CODECS names the audio group's codec too",
                uri,
            );
        }
    }
    for media in playlist.media.iter().filter(|m| m.kind == "AUDIO") {
        let name = || format!("{} in {}", media.name, media.group);
        found.check(media.language.is_some(), "A 8.9 LANGUAGE on audio renditions", name);
        found.check(media.channels.is_some(), "A 8.9 CHANNELS on audio renditions", name);
    }
    let has_video = playlist.playable().any(|v| is_video(&v.codecs));
    found.check(
        !has_video || playlist.variants.iter().any(|v| v.i_frames),
        "A 6 I-frame playlists exist",
        String::new,
    );
    found.0
}

fn is_video(codecs: &[String]) -> bool {
    let names = ["avc1", "avc3", "hvc1", "hev1", "av01", "vp09"];
    codecs.iter().any(|codec| names.iter().any(|name| codec.starts_with(name)))
}

fn is_audio(codec: &str) -> bool {
    ["mp4a", "opus", "Opus", "ac-3", "ec-3", "fLaC"].iter().any(|name| codec.starts_with(name))
}
