//! What `onMetaData` promises: which tracks there will be, and the frame rate.
//!
//! Publishers needn't send it and it is often wrong, so it only shortens the
//! wait for tracks and breaks ties. Read by hand because only a flat list of
//! scalars is wanted: nothing nested is entered, so nothing can grow.

/// The part of a metadata object that matters here.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Metadata {
    /// Something in it speaks of pictures.
    pub(super) video: bool,
    /// Something in it speaks of sound.
    pub(super) audio: bool,
    /// Frames per second.
    pub(super) fps: Option<(u32, u32)>,
    /// Width in pixels, for a picture whose own headers can't be read.
    pub(super) width: u16,
    /// Height in pixels.
    pub(super) height: u16,
}

/// Keys read at most: real ones have about 20.
const KEYS_MAX: usize = 256;

impl Metadata {
    /// Whether it says that there will be no sound.
    pub(super) fn video_only(&self) -> bool {
        self.video && !self.audio
    }

    /// Whether it says that there will be no picture.
    pub(super) fn audio_only(&self) -> bool {
        self.audio && !self.video
    }

    /// Reads `onMetaData` (with or without a leading `@setDataFrame`); none for other messages.
    pub(super) fn parse(mut data: &[u8]) -> Option<Self> {
        let mut name = text(&mut data)?;
        if name == b"@setDataFrame" {
            name = text(&mut data)?;
        }
        if name != b"onMetaData" {
            return None;
        }
        match take(&mut data, 1)?[0] {
            3 => {}
            8 => drop(take(&mut data, 4)?),
            _ => return None,
        }
        let mut found = Self::default();
        for _ in 0..KEYS_MAX {
            // What was read before the data ends or turns unreadable still counts.
            let Some(()) = found.entry(&mut data) else { break };
        }
        Some(found)
    }

    fn entry(&mut self, data: &mut &[u8]) -> Option<()> {
        let size = take(data, 2)?;
        let key = take(data, usize::from(u16::from_be_bytes([size[0], size[1]])))?;
        let value = match take(data, 1)?[0] {
            0 => f64::from_be_bytes(take(data, 8)?.try_into().ok()?),
            1 => f64::from(take(data, 1)?[0]),
            2 => {
                let size = take(data, 2)?;
                take(data, usize::from(u16::from_be_bytes([size[0], size[1]])))?;
                // A codec may be named by text: present all the same.
                1.0
            }
            5 | 6 => 0.0,
            _ => return None,
        };
        let there = value > 0.0;
        match key {
            b"videocodecid" | b"videodatarate" | b"hasVideo" => self.video |= there,
            b"audiocodecid" | b"audiodatarate" | b"audiosamplerate" | b"hasAudio" => {
                self.audio |= there
            }
            b"framerate" | b"videoframerate" => {
                self.video |= there;
                self.fps = self.fps.or(fraction(value));
            }
            // Saturating: NaN and negatives become 0.
            b"width" => self.width = value as u16,
            b"height" => self.height = value as u16,
            _ => {}
        }
        self.video |= self.width > 0 && self.height > 0;
        Some(())
    }
}

/// The frame rate that a rounded decimal stands for: 29.97 is 30000/1001.
fn fraction(fps: f64) -> Option<(u32, u32)> {
    if !(1.0..=300.0).contains(&fps) {
        return None;
    }
    let whole = fps.round();
    let ntsc = (fps * 1.001).round();
    let (num, den) = if (fps - whole).abs() < 0.003 {
        (whole as u32, 1)
    } else if (fps * 1.001 - ntsc).abs() < 0.006 {
        (ntsc as u32 * 1000, 1001)
    } else {
        ((fps * 1000.0).round() as u32, 1000)
    };
    super::params::frame_rate(num, den)
}

fn text<'a>(data: &mut &'a [u8]) -> Option<&'a [u8]> {
    if take(data, 1)?[0] != 2 {
        return None;
    }
    let size = take(data, 2)?;
    take(data, usize::from(u16::from_be_bytes([size[0], size[1]])))
}

fn take<'a>(data: &mut &'a [u8], size: usize) -> Option<&'a [u8]> {
    let (head, rest) = data.split_at_checked(size)?;
    *data = rest;
    Some(head)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// An `onMetaData` message with these numbers.
    fn message(entries: &[(&str, f64)]) -> Vec<u8> {
        let mut out =
            b"\x02\x00\x0d@setDataFrame\x02\x00\x0aonMetaData\x08\x00\x00\x00\x00".to_vec();
        for (key, value) in entries {
            out.extend((key.len() as u16).to_be_bytes());
            out.extend(key.as_bytes());
            out.push(0);
            out.extend(value.to_be_bytes());
        }
        out.extend([0, 0, 9]);
        out
    }

    #[test]
    fn tells_tracks_and_frame_rate() {
        let both = Metadata::parse(&message(&[
            ("videocodecid", 7.0),
            ("framerate", 29.97),
            ("audiocodecid", 10.0),
        ]));
        let both = both.unwrap();
        assert!(!both.video_only() && !both.audio_only());
        assert_eq!(both.fps, Some((30_000, 1001)));
        assert!(Metadata::parse(&message(&[("audiosamplerate", 44_100.0)])).unwrap().audio_only());
        assert!(
            Metadata::parse(&message(&[("width", 1280.0), ("height", 720.0)]))
                .unwrap()
                .video_only()
        );
        assert_eq!(Metadata::parse(b"\x02\x00\x0bonTextDatax"), None);
    }

    #[test]
    fn decimal_frame_rates() {
        assert_eq!(fraction(23.976), Some((24_000, 1001)));
        assert_eq!(fraction(59.94), Some((60_000, 1001)));
        assert_eq!(fraction(25.0), Some((25, 1)));
        assert_eq!(fraction(12.5), Some((25, 2)));
        assert_eq!(fraction(1000.0), None);
        assert_eq!(fraction(f64::NAN), None);
    }

    proptest! {
        #[test]
        fn garbage_is_only_refused(data in proptest::collection::vec(any::<u8>(), 0..64)) {
            Metadata::parse(&data);
            let mut named = b"\x02\x00\x0aonMetaData\x03".to_vec();
            named.extend(data);
            Metadata::parse(&named);
        }
    }
}
