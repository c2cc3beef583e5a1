//! What a URL below `/live/{stream}/` names. Parsing is strict: one name per thing.

use records::Rendition;

/// A resource of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Route {
    /// `index.m3u8`
    Multivariant,
    /// `{rendition}/index.m3u8`
    Media(Rendition),
    /// `{rendition}/iframes.m3u8`
    IFrames(Rendition),
    /// `{rendition}/init-{run}.mp4`
    Init(Rendition, u64),
    /// `{rendition}/{msn}.m4s`
    Segment(Rendition, u64),
    /// `{rendition}/{msn}.{part}.m4s`
    Part(Rendition, u64, u32),
}

impl Route {
    /// None: no such resource can exist.
    pub(super) fn parse(path: &str) -> Option<Self> {
        if path == "index.m3u8" {
            return Some(Self::Multivariant);
        }
        let (rendition, file) = path.split_once('/')?;
        let rendition = rendition.parse().ok()?;
        match file {
            "index.m3u8" => return Some(Self::Media(rendition)),
            "iframes.m3u8" => return Some(Self::IFrames(rendition)),
            _ => {}
        }
        if let Some(run) = file.strip_prefix("init-").and_then(|f| f.strip_suffix(".mp4")) {
            return Some(Self::Init(rendition, number(run)?));
        }
        let stem = file.strip_suffix(".m4s")?;
        Some(match stem.split_once('.') {
            Some((msn, part)) => {
                Self::Part(rendition, number(msn)?, number(part)?.try_into().ok()?)
            }
            None => Self::Segment(rendition, number(stem)?),
        })
    }

    /// Whether it names a playlist.
    pub(super) fn is_playlist(self) -> bool {
        matches!(self, Self::Multivariant | Self::Media(_) | Self::IFrames(_))
    }
}

/// A decimal number without sign, padding or space.
fn number(text: &str) -> Option<u64> {
    let digits = text.bytes().all(|b| b.is_ascii_digit());
    let padded = text.len() > 1 && text.starts_with('0');
    // 18 digits always fit, with room for arithmetic.
    (digits && !padded && (1..=18).contains(&text.len())).then(|| text.parse().ok()).flatten()
}

/// Delivery directives (bis 6.2.5).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Directives {
    /// `_HLS_msn`: hold the reply until this segment is there.
    pub(super) msn: Option<u64>,
    /// `_HLS_part`: hold it only until this part of it is there.
    pub(super) part: Option<u32>,
    /// `_HLS_skip`: a delta update will do.
    pub(super) skip: bool,
}

impl Directives {
    /// Reads the query; parameters that aren't directives are left to others.
    ///
    /// # Errors
    /// A sentence for the viewer's developer.
    pub(super) fn parse(query: Option<&str>) -> Result<Self, &'static str> {
        let mut directives = Self::default();
        for pair in query.unwrap_or_default().split('&') {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            match name {
                "_HLS_msn" if directives.msn.is_none() => {
                    directives.msn = Some(number(value).ok_or("_HLS_msn is not a number")?);
                }
                "_HLS_part" if directives.part.is_none() => {
                    let part = number(value).and_then(|n| n.try_into().ok());
                    directives.part = Some(part.ok_or("_HLS_part is not a number")?);
                }
                "_HLS_msn" | "_HLS_part" => return Err("a delivery directive is repeated"),
                "_HLS_skip" => match value {
                    // v2 would also skip EXT-X-DATERANGE, of which there are none.
                    "YES" | "v2" => directives.skip = true,
                    _ => return Err("_HLS_skip is neither YES nor v2"),
                },
                _ => {}
            }
        }
        if directives.part.is_some() && directives.msn.is_none() {
            return Err("_HLS_part without _HLS_msn (bis 6.2.5.2)");
        }
        Ok(directives)
    }

    /// Whether the reply may have to wait.
    pub(super) fn blocks(&self) -> bool {
        self.msn.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_strict() {
        use Rendition::{Audio, Rung, Source};
        for (path, route) in [
            ("index.m3u8", Route::Multivariant),
            ("audio/index.m3u8", Route::Media(Audio)),
            ("720p/iframes.m3u8", Route::IFrames(Rung(720))),
            ("source/init-0.mp4", Route::Init(Source, 0)),
            ("source/17.m4s", Route::Segment(Source, 17)),
            ("source/17.3.m4s", Route::Part(Source, 17, 3)),
        ] {
            assert_eq!(Route::parse(path), Some(route), "{path}");
        }
        for bad in [
            "",
            "/",
            "index.m3u8/",
            "audio",
            "audio/",
            "audio/01.m4s",
            "audio/+1.m4s",
            "audio/1.2.3.m4s",
            "audio/1..m4s",
            "audio/.m4s",
            "audio/-1.m4s",
            "audio/init-.mp4",
            "audio/1.4294967296.m4s",
            "audio/99999999999999999999.m4s",
            "audio/../index.m3u8",
            "audio//index.m3u8",
            "video/1.m4s",
            "audio/1.m4s/",
            "audio/ 1.m4s",
        ] {
            assert_eq!(Route::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn directives_follow_the_table() {
        let parse = |q| Directives::parse(Some(q));
        assert_eq!(Directives::parse(None), Ok(Directives::default()));
        assert_eq!(
            parse("token=a&_HLS_msn=5&_HLS_part=2&_HLS_skip=v2"),
            Ok(Directives { msn: Some(5), part: Some(2), skip: true })
        );
        for bad in
            ["_HLS_part=1", "_HLS_msn=", "_HLS_msn=x", "_HLS_msn=1&_HLS_msn=2", "_HLS_skip=no"]
        {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
