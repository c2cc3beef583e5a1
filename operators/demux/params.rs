//! What decoder configurations say of a picture: size and frame rate.
//!
//! Enters: configuration records as published. Leaves: the few numbers that
//! the timeline and the playlists need. Never done here: decoding. All of it
//! comes from strangers: everything is bounds-checked, nothing is trusted.

use records::Codec;

use super::bits::{Bits, unescape};

/// A picture's shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Picture {
    /// Width after cropping.
    pub(super) width: u16,
    /// Height after cropping.
    pub(super) height: u16,
    /// Frames per second, if it says.
    pub(super) fps: Option<(u32, u32)>,
}

/// Bytes that tell how long a NAL unit is; none if the record is too short to tell.
pub(super) fn nal_length_size(codec: Codec, config: &[u8]) -> Option<usize> {
    let at = match codec {
        Codec::H264 => 4,
        Codec::Hevc => 21,
        _ => return None,
    };
    match usize::from(config.get(at)? & 3) + 1 {
        3 => None,
        size => Some(size),
    }
}

/// Reads the picture's shape from its configuration record, or AV1 from the sequence header in `config`.
pub(super) fn picture(codec: Codec, config: &[u8]) -> Option<Picture> {
    match codec {
        Codec::H264 => avc_record(config),
        Codec::Hevc => hevc_record(config),
        Codec::Av1 => av1_sequence(config.get(4..)?),
        _ => None,
    }
}

/// ISO/IEC 14496-15 5.3.3.1: the first SPS in the record.
fn avc_record(config: &[u8]) -> Option<Picture> {
    if config.first() != Some(&1) || config.get(5)? & 31 == 0 {
        return None;
    }
    let size = usize::from(u16::from_be_bytes([*config.get(6)?, *config.get(7)?]));
    avc_sps(&unescape(config.get(8..8 + size)?))
}

/// H.264 7.3.2.1.1 and, for the frame rate, E.1.1.
fn avc_sps(sps: &[u8]) -> Option<Picture> {
    let mut bits = Bits::new(sps.get(1..)?);
    let profile = bits.read(8)?;
    bits.skip(16)?;
    bits.ue()?;
    let mut chroma = 1;
    if matches!(profile, 100 | 110 | 122 | 244 | 44 | 83 | 86 | 118 | 128 | 138 | 139 | 134 | 135) {
        chroma = bits.ue()?;
        if chroma == 3 && bits.bit()? {
            chroma = 0;
        }
        bits.ue()?;
        bits.ue()?;
        bits.skip(1)?;
        if bits.bit()? {
            for list in 0..if chroma == 3 { 12 } else { 8 } {
                if bits.bit()? {
                    skip_scaling_list(&mut bits, if list < 6 { 16 } else { 64 })?;
                }
            }
        }
    }
    bits.ue()?;
    match bits.ue()? {
        0 => drop(bits.ue()?),
        1 => {
            bits.skip(1)?;
            bits.se()?;
            bits.se()?;
            for _ in 0..bits.ue()?.min(255) {
                bits.se()?;
            }
        }
        _ => {}
    }
    bits.ue()?;
    bits.skip(1)?;
    let width = (bits.ue()?.checked_add(1)?).checked_mul(16)?;
    let map_units = bits.ue()?.checked_add(1)?;
    let frame_only = bits.bit()?;
    let fields = if frame_only { 1 } else { 2 };
    let height = map_units.checked_mul(16 * fields)?;
    if !frame_only {
        bits.skip(1)?;
    }
    bits.skip(1)?;
    let (unit_x, unit_y) = match chroma {
        1 => (2, 2 * fields),
        2 => (2, fields),
        _ => (1, fields),
    };
    let (width, height) = cropped(&mut bits, width, height, unit_x, unit_y)?;
    // The rest only refines: a broken tail costs the frame rate, not the stream.
    let fps = avc_vui_fps(&mut bits);
    Some(Picture { width, height, fps })
}

fn skip_scaling_list(bits: &mut Bits, size: usize) -> Option<()> {
    let (mut last, mut next) = (8i64, 8i64);
    for _ in 0..size {
        if next != 0 {
            next = (last + bits.se()?).rem_euclid(256);
        }
        if next != 0 {
            last = next;
        }
    }
    Some(())
}

fn avc_vui_fps(bits: &mut Bits) -> Option<(u32, u32)> {
    if !bits.bit()? {
        return None;
    }
    if bits.bit()? && bits.read(8)? == 255 {
        bits.skip(32)?;
    }
    if bits.bit()? {
        bits.skip(1)?;
    }
    if bits.bit()? {
        bits.skip(4)?;
        if bits.bit()? {
            bits.skip(24)?;
        }
    }
    if bits.bit()? {
        bits.ue()?;
        bits.ue()?;
    }
    if !bits.bit()? {
        return None;
    }
    let (units, scale) = (bits.read(32)?, bits.read(32)?);
    // One frame is two ticks (E.2.1).
    frame_rate(scale, units.checked_mul(2)?)
}

/// A conformance or cropping window, if the next bit says there is one.
fn cropped(bits: &mut Bits, width: u32, height: u32, x: u32, y: u32) -> Option<(u16, u16)> {
    let (mut width, mut height) = (width, height);
    if bits.bit()? {
        let (left, right, top, bottom) = (bits.ue()?, bits.ue()?, bits.ue()?, bits.ue()?);
        width = width.checked_sub(left.checked_add(right)?.checked_mul(x)?)?;
        height = height.checked_sub(top.checked_add(bottom)?.checked_mul(y)?)?;
    }
    size(width, height)
}

fn size(width: u32, height: u32) -> Option<(u16, u16)> {
    let (width, height) = (u16::try_from(width).ok()?, u16::try_from(height).ok()?);
    (width > 0 && height > 0).then_some((width, height))
}

/// A frame rate if it is one: 1 to 300 per second, in lowest terms.
pub(super) fn frame_rate(num: u32, den: u32) -> Option<(u32, u32)> {
    if den == 0 || num < den || num / den > 300 {
        return None;
    }
    let divisor = gcd(num, den);
    Some((num / divisor, den / divisor))
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

const HEVC_VPS: u8 = 32;
const HEVC_SPS: u8 = 33;

/// ISO/IEC 14496-15 8.3.3.1: the arrays of parameter sets. Size from the SPS,
/// frame rate from the VPS. The SPS may also tell it, but behind the reference
/// picture sets; where only it does, the metadata's frame rate serves.
fn hevc_record(config: &[u8]) -> Option<Picture> {
    let mut rest = config.get(23..)?;
    let (mut shape, mut fps) = (None, None);
    for _ in 0..*config.get(22)? {
        let kind = *rest.first()? & 63;
        let count = u16::from_be_bytes([*rest.get(1)?, *rest.get(2)?]);
        rest = &rest[3..];
        for _ in 0..count {
            let size = usize::from(u16::from_be_bytes([*rest.first()?, *rest.get(1)?]));
            let nal = rest.get(2..2 + size)?;
            rest = &rest[2 + size..];
            match kind {
                HEVC_SPS if shape.is_none() => shape = hevc_sps(&unescape(nal)),
                HEVC_VPS if fps.is_none() => fps = hevc_vps_fps(&unescape(nal)),
                _ => {}
            }
        }
    }
    let (width, height) = shape?;
    Some(Picture { width, height, fps })
}

/// H.265 7.3.2.2.1, up to the conformance window.
fn hevc_sps(sps: &[u8]) -> Option<(u16, u16)> {
    let mut bits = Bits::new(sps.get(2..)?);
    bits.skip(4)?;
    let layers = bits.read(3)?;
    bits.skip(1)?;
    skip_profile_tier_level(&mut bits, layers)?;
    bits.ue()?;
    let mut chroma = bits.ue()?;
    if chroma == 3 && bits.bit()? {
        chroma = 0;
    }
    let (width, height) = (bits.ue()?, bits.ue()?);
    let (x, y) = match chroma {
        1 => (2, 2),
        2 => (2, 1),
        _ => (1, 1),
    };
    cropped(&mut bits, width, height, x, y)
}

/// H.265 7.3.3.
fn skip_profile_tier_level(bits: &mut Bits, layers: u32) -> Option<()> {
    bits.skip(88 + 8)?;
    let mut present = Vec::with_capacity(8);
    for _ in 0..layers {
        present.push((bits.bit()?, bits.bit()?));
    }
    if layers > 0 {
        bits.skip(2 * (8 - layers as usize))?;
    }
    for (profile, level) in present {
        bits.skip(if profile { 88 } else { 0 } + if level { 8 } else { 0 })?;
    }
    Some(())
}

/// H.265 7.3.2.1, up to the timing information.
fn hevc_vps_fps(vps: &[u8]) -> Option<(u32, u32)> {
    let mut bits = Bits::new(vps.get(2..)?);
    bits.skip(12)?;
    let layers = bits.read(3)?;
    bits.skip(17)?;
    skip_profile_tier_level(&mut bits, layers)?;
    let all = bits.bit()?;
    for _ in 0..if all { layers + 1 } else { 1 } {
        bits.ue()?;
        bits.ue()?;
        bits.ue()?;
    }
    let max_layer_id = bits.read(6)? as usize;
    let sets = bits.ue()?.min(1023) as usize;
    bits.skip(sets * (max_layer_id + 1))?;
    if !bits.bit()? {
        return None;
    }
    let (units, scale) = (bits.read(32)?, bits.read(32)?);
    frame_rate(scale, units)
}

const OBU_SEQUENCE_HEADER: u8 = 1;
const OBU_TEMPORAL_DELIMITER: u8 = 2;

/// One open bitstream unit: its type, and where its payload lies (AV1 5.3).
pub(super) struct Obu<'a> {
    kind: u8,
    payload: &'a [u8],
    /// Header, size field and payload.
    length: usize,
}

impl Obu<'_> {
    /// Reads the first unit; none if its size doesn't fit.
    fn first(data: &[u8]) -> Option<Obu<'_>> {
        let head = *data.first()?;
        let mut at = if head & 4 != 0 { 2 } else { 1 };
        let mut size = data.len().checked_sub(at)?;
        if head & 2 != 0 {
            size = 0;
            for shift in 0.. {
                let byte = *data.get(at)?;
                at += 1;
                size |= usize::from(byte & 127) << (shift * 7);
                if byte & 128 == 0 {
                    break;
                }
                // Sizes beyond 28 bits are no message's.
                if shift == 3 {
                    return None;
                }
            }
        }
        let payload = data.get(at..at.checked_add(size)?)?;
        Some(Obu { kind: head >> 3 & 15, payload, length: at + size })
    }
}

/// How many bytes of temporal delimiters lead a temporal unit; none if its units don't add up.
pub(super) fn av1_delimiters(data: &[u8]) -> Option<usize> {
    let (mut rest, mut lead, mut leading) = (data, 0, true);
    while !rest.is_empty() {
        let obu = Obu::first(rest)?;
        leading &= obu.kind == OBU_TEMPORAL_DELIMITER;
        lead += if leading { obu.length } else { 0 };
        rest = &rest[obu.length..];
    }
    Some(lead)
}

/// The shape in the first sequence header among `obus` (AV1 5.5.1).
pub(super) fn av1_sequence(mut obus: &[u8]) -> Option<Picture> {
    loop {
        let obu = Obu::first(obus)?;
        if obu.kind == OBU_SEQUENCE_HEADER {
            return av1_sequence_header(obu.payload);
        }
        obus = &obus[obu.length..];
    }
}

fn av1_sequence_header(payload: &[u8]) -> Option<Picture> {
    let mut bits = Bits::new(payload);
    bits.skip(4)?;
    let mut fps = None;
    if bits.bit()? {
        bits.skip(5)?;
    } else {
        let mut model = None;
        if bits.bit()? {
            let (units, scale) = (bits.read(32)?, bits.read(32)?);
            let equal = bits.bit()?;
            let ticks = if equal { bits.ue()?.checked_add(1)? } else { 1 };
            fps = frame_rate(scale, units.saturating_mul(ticks)).filter(|_| equal);
            if bits.bit()? {
                model = Some(bits.read(5)? as usize + 1);
                bits.skip(32 + 5 + 5)?;
            }
        }
        let display_delay = bits.bit()?;
        for _ in 0..=bits.read(5)? {
            bits.skip(12)?;
            if bits.read(5)? > 7 {
                bits.skip(1)?;
            }
            if let Some(length) = model
                && bits.bit()?
            {
                bits.skip(2 * length + 1)?;
            }
            if display_delay && bits.bit()? {
                bits.skip(4)?;
            }
        }
    }
    let (width_bits, height_bits) = (bits.read(4)? + 1, bits.read(4)? + 1);
    let (width, height) = (bits.read(width_bits)? + 1, bits.read(height_bits)? + 1);
    let (width, height) = size(width, height)?;
    Some(Picture { width, height, fps })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn frame_rates_have_bounds() {
        assert_eq!(frame_rate(60_000, 2002), Some((30_000, 1001)));
        assert_eq!(frame_rate(50, 2), Some((25, 1)));
        assert_eq!(frame_rate(90_000, 1), None);
        assert_eq!(frame_rate(1, 0), None);
    }

    proptest! {
        #[test]
        fn garbage_is_only_refused(config in proptest::collection::vec(any::<u8>(), 0..80)) {
            for codec in [Codec::H264, Codec::Hevc, Codec::Av1] {
                picture(codec, &config);
                nal_length_size(codec, &config);
            }
            avc_sps(&config);
            hevc_sps(&config);
            hevc_vps_fps(&config);
            av1_delimiters(&config);
        }
    }
}
