//! What decoder configurations say of a sound: sample rate, channels, durations.
//!
//! Enters: configuration records and Opus packets as published. Leaves: the few
//! numbers that the timeline and the playlists need. Never done here: decoding.

use records::Codec;

use super::bits::Bits;

/// A sound's shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sound {
    /// Samples per second as the decoder outputs them.
    pub(super) sample_rate: u32,
    /// Channels as the decoder outputs them.
    pub(super) channels: u16,
    /// Output samples of one access unit.
    pub(super) frame_ticks: u32,
}

/// Reads the sound's shape from its configuration record.
pub(super) fn sound(codec: Codec, config: &[u8]) -> Option<Sound> {
    match codec {
        Codec::Aac => audio_specific_config(config),
        Codec::Opus => {
            let channels = u16::from(*config.strip_prefix(b"OpusHead")?.get(1)?);
            let known = config.len() >= 19 && channels > 0;
            known.then_some(Sound { sample_rate: 48_000, channels, frame_ticks: 960 })
        }
        _ => None,
    }
}

/// An `OpusHead` for a publisher that sends none: two channels, no pre-skip (RFC 7845 5.1).
pub(super) const OPUS_HEAD: &[u8; 19] = b"OpusHead\x01\x02\x00\x00\x80\xbb\x00\x00\x00\x00\x00";

/// Samples at 48 kHz of an Opus packet (RFC 6716 3.1, 3.2); none if it is malformed.
pub(super) fn opus_ticks(packet: &[u8]) -> Option<u32> {
    let toc = *packet.first()?;
    let frame = match toc >> 3 {
        n @ 0..12 => [480, 960, 1920, 2880][usize::from(n % 4)],
        n @ 12..16 => [480, 960][usize::from(n % 2)],
        n => [120, 240, 480, 960][usize::from(n % 4)],
    };
    let frames = match toc & 3 {
        0 => 1,
        1 | 2 => 2,
        _ => u32::from(packet.get(1)? & 63),
    };
    // At most 120 ms.
    (1..=5760).contains(&(frame * frames)).then_some(frame * frames)
}

const AAC_RATES: [u32; 13] = [
    96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000,
    7_350,
];
const SBR: u32 = 5;
const PARAMETRIC_STEREO: u32 = 29;

/// ISO/IEC 14496-3 1.6.2.1: with SBR the output rate is twice the core's, and so are a frame's samples.
fn audio_specific_config(config: &[u8]) -> Option<Sound> {
    let mut bits = Bits::new(config);
    let mut object = object_type(&mut bits)?;
    let core_rate = aac_rate(&mut bits)?;
    let layout = bits.read(4)?;
    let mut output_rate = core_rate;
    let stereo = object == PARAMETRIC_STEREO;
    let explicit = matches!(object, SBR | PARAMETRIC_STEREO);
    if explicit {
        output_rate = aac_rate(&mut bits)?;
        object = object_type(&mut bits)?;
    }
    // GASpecificConfig (4.4.1) of the object types that have one.
    if !matches!(object, 1..=4 | 6 | 7 | 17 | 19..=23) {
        return None;
    }
    let core_samples: u32 = if bits.bit()? { 960 } else { 1024 };
    if bits.bit()? {
        bits.skip(14)?;
    }
    bits.skip(1)?;
    let mut channels = match layout {
        0 => program_channels(&mut bits)?,
        n @ 1..=6 => n as u16,
        7 => 8,
        11 => 7,
        12 | 14 => 8,
        _ => return None,
    };
    if stereo && channels == 1 {
        channels = 2;
    }
    // Backward-compatible signalling at the end (1.6.6.1).
    if !explicit && layout != 0 && bits.left() >= 16 && bits.read(11)? == 0x2b7 {
        let sbr = object_type(&mut bits) == Some(SBR) && bits.bit() == Some(true);
        if let Some(rate) = sbr.then(|| aac_rate(&mut bits)).flatten() {
            output_rate = rate;
        }
    }
    let frame_ticks = u64::from(core_samples) * u64::from(output_rate) / u64::from(core_rate);
    let frame_ticks = u32::try_from(frame_ticks).ok().filter(|n| (1..=8192).contains(n))?;
    Some(Sound { sample_rate: output_rate, channels, frame_ticks })
}

fn object_type(bits: &mut Bits) -> Option<u32> {
    match bits.read(5)? {
        31 => Some(32 + bits.read(6)?),
        n => Some(n),
    }
}

fn aac_rate(bits: &mut Bits) -> Option<u32> {
    let rate = match bits.read(4)? {
        15 => bits.read(24)?,
        index => *AAC_RATES.get(index as usize)?,
    };
    (1_000..=192_000).contains(&rate).then_some(rate)
}

/// program_config_element (4.4.1.1): elements of one or two channels, and the low-frequency ones.
fn program_channels(bits: &mut Bits) -> Option<u16> {
    bits.skip(10)?;
    let elements = bits.read(4)? + bits.read(4)? + bits.read(4)?;
    let low = bits.read(2)?;
    bits.skip(7)?;
    for skip in [4, 4, 3] {
        if bits.bit()? {
            bits.skip(skip)?;
        }
    }
    let mut channels = low as u16;
    for _ in 0..elements {
        channels += if bits.bit()? { 2 } else { 1 };
        bits.skip(4)?;
    }
    (channels > 0).then_some(channels)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn audio_specific_configs() {
        let of = |config: &[u8]| {
            sound(Codec::Aac, config).map(|s| (s.sample_rate, s.channels, s.frame_ticks))
        };
        assert_eq!(of(&[0x12, 0x10]), Some((44_100, 2, 1024)));
        assert_eq!(of(&[0x11, 0xb0]), Some((48_000, 6, 1024)));
        // HE-AAC, explicit (AOT 5, 24 kHz core, 48 kHz out) and backward compatible.
        assert_eq!(of(&[0x2b, 0x11, 0x88, 0x00]), Some((48_000, 2, 2048)));
        assert_eq!(of(&[0x13, 0x10, 0x56, 0xe5, 0x98]), Some((48_000, 2, 2048)));
        assert_eq!(of(&[0x12]), None);
        assert_eq!(of(&[0xff; 8]), None);
    }

    #[test]
    fn opus_durations() {
        assert_eq!(opus_ticks(&[0xfc]), Some(960));
        assert_eq!(opus_ticks(&[0x18]), Some(2880));
        assert_eq!(opus_ticks(&[0x83, 6]), Some(720));
        assert_eq!(opus_ticks(&[0x83, 0]), None);
        assert_eq!(opus_ticks(&[]), None);
        let head = sound(Codec::Opus, OPUS_HEAD).map(|s| (s.sample_rate, s.channels));
        assert_eq!(head, Some((48_000, 2)));
    }

    proptest! {
        #[test]
        fn garbage_is_only_refused(config in proptest::collection::vec(any::<u8>(), 0..80)) {
            sound(Codec::Aac, &config);
            sound(Codec::Opus, &config);
            opus_ticks(&config);
        }
    }
}
