//! Multivariant playlists (bis 4.4.6).

use super::attributes::{Attributes, integer};
use super::media::{lines, split_tag};
use super::{Media, MultivariantPlaylist, ParseError, Variant};

/// Reads a multivariant playlist.
///
/// # Errors
/// The first line that breaks the grammar.
pub fn parse_multivariant(text: &str) -> Result<MultivariantPlaylist, ParseError> {
    let mut playlist = MultivariantPlaylist {
        version: 1,
        independent_segments: false,
        variants: Vec::new(),
        media: Vec::new(),
        unknown: Vec::new(),
    };
    let mut pending = None;
    for (line, content) in lines(text)? {
        let fail = |what: String| ParseError { line, what };
        let Some((name, value)) = split_tag(content) else {
            let attributes =
                pending.take().ok_or_else(|| fail("a URI without EXT-X-STREAM-INF".into()))?;
            playlist.variants.push(variant(content.to_owned(), false, attributes).map_err(fail)?);
            continue;
        };
        if pending.is_some() {
            return Err(fail("EXT-X-STREAM-INF without a URI on the next line".into()));
        }
        match name {
            "EXT-X-VERSION" => playlist.version = integer(value).map_err(fail)?,
            "EXT-X-INDEPENDENT-SEGMENTS" => playlist.independent_segments = true,
            "EXT-X-STREAM-INF" => pending = Some(Attributes::parse(value).map_err(fail)?),
            "EXT-X-I-FRAME-STREAM-INF" => {
                let attributes = Attributes::parse(value).map_err(fail)?;
                let uri = attributes.required("URI").map_err(fail)?.to_owned();
                playlist.variants.push(variant(uri, true, attributes).map_err(fail)?);
            }
            "EXT-X-MEDIA" => {
                playlist.media.push(media(Attributes::parse(value).map_err(fail)?).map_err(fail)?);
            }
            "EXTINF" | "EXT-X-TARGETDURATION" | "EXT-X-PART" | "EXT-X-MEDIA-SEQUENCE" => {
                return Err(fail(format!("{name} belongs in a media playlist")));
            }
            _ => playlist.unknown.push(content.to_owned()),
        }
    }
    if pending.is_some() {
        let line = text.lines().count();
        return Err(ParseError { line, what: "EXT-X-STREAM-INF without a URI".into() });
    }
    // Stable: the order within each kind is the author's preference.
    playlist.variants.sort_by_key(|v| v.i_frames);
    Ok(playlist)
}

fn variant(uri: String, i_frames: bool, attributes: Attributes) -> Result<Variant, String> {
    let codecs = attributes.quoted("CODECS")?.unwrap_or_default();
    Ok(Variant {
        uri,
        i_frames,
        bandwidth: attributes.integer("BANDWIDTH")?.ok_or("BANDWIDTH is missing")?,
        average_bandwidth: attributes.integer("AVERAGE-BANDWIDTH")?,
        codecs: codecs
            .split(',')
            .map(str::trim)
            .filter(|c| !c.is_empty())
            .map(str::to_owned)
            .collect(),
        resolution: attributes.resolution("RESOLUTION")?,
        frame_rate: attributes.decimal("FRAME-RATE")?,
        audio: attributes.quoted("AUDIO")?.map(str::to_owned),
        closed_captions: attributes.either("CLOSED-CAPTIONS").map(str::to_owned),
        attributes,
    })
}

fn media(attributes: Attributes) -> Result<Media, String> {
    Ok(Media {
        kind: attributes.plain("TYPE")?.ok_or("TYPE is missing")?.to_owned(),
        group: attributes.required("GROUP-ID")?.to_owned(),
        name: attributes.required("NAME")?.to_owned(),
        uri: attributes.quoted("URI")?.map(str::to_owned),
        default: attributes.yes("DEFAULT")?,
        autoselect: attributes.yes("AUTOSELECT")?,
        language: attributes.quoted("LANGUAGE")?.map(str::to_owned),
        channels: attributes.quoted("CHANNELS")?.map(str::to_owned),
        attributes,
    })
}
