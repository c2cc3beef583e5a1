//! Turns a plane of bytes on its side.
//!
//! Enters: a plane whose rows follow each other. Leaves: the same with rows and
//! columns exchanged. Held: nothing. Never done here: filtering.
//!
//! Square tiles are turned by perfect shuffles, which compilers know as the
//! processor's interleaving of bytes. Tiles below each other come first, so
//! that lines of the target are filled while they are at hand.

/// Rows and columns of a tile.
const SIDE: usize = 16;
const TILE: usize = SIDE * SIDE;
/// Rows that are turned together: what of them lies below each other is a cache line.
const BAND: usize = 64;

/// `to[x * stride + y] = from[y * width + x]`. Rows of `to` may be longer than
/// `from` is high; the rest of them is left as it is.
///
/// # Panics
/// If `from` is not of whole rows, or `to` is too small for it.
pub(super) fn turn(from: &[u8], width: usize, to: &mut [u8], stride: usize) {
    if width == 0 {
        return;
    }
    let tiled_width = width - width % SIDE;
    for (band, rows) in from.chunks(BAND * width).enumerate() {
        let top = band * BAND;
        let tall = rows.len() / width;
        let tiled_tall = tall - tall % SIDE;
        for x in (0..tiled_width).step_by(SIDE) {
            for y in (0..tiled_tall).step_by(SIDE) {
                turn_tile(&rows[y * width + x..], width, &mut to[x * stride + top + y..], stride);
            }
        }
        for y in 0..tall {
            let first = if y < tiled_tall { tiled_width } else { 0 };
            for x in first..width {
                to[x * stride + top + y] = rows[y * width + x];
            }
        }
    }
}

/// Lengths are settled first, and the shuffles spelled out, so that the tile
/// stays in registers: twice as fast as loops.
#[inline(always)]
fn turn_tile(from: &[u8], from_stride: usize, to: &mut [u8], to_stride: usize) {
    let from = &from[..from_stride * (SIDE - 1) + SIDE];
    let to = &mut to[..to_stride * (SIDE - 1) + SIDE];
    let rows: [[u8; SIDE]; SIDE] = std::array::from_fn(|row| {
        from[row * from_stride..].first_chunk().copied().unwrap_or_default()
    });
    let mut tile = [0; TILE];
    let (even, odd) = rows.split_at(SIDE / 2);
    let both = tile.as_chunks_mut::<{ 2 * SIDE }>().0;
    for (both, (even, odd)) in both.iter_mut().zip(even.iter().zip(odd)) {
        interleave(even, odd, both);
    }
    // Each shuffle, that above too, moves one bit between a row's number and a column's.
    let tile = shuffle(&shuffle(&shuffle(&tile)));
    for (row, line) in tile.as_chunks::<SIDE>().0.iter().enumerate() {
        if let Some(target) = to[row * to_stride..].first_chunk_mut() {
            *target = *line;
        }
    }
}

/// The second half's bytes between those of the first.
#[inline(always)]
fn shuffle(tile: &[u8; TILE]) -> [u8; TILE] {
    let mut shuffled = [0; TILE];
    let (even, odd) = tile.split_at(TILE / 2);
    interleave(even, odd, &mut shuffled);
    shuffled
}

#[inline(always)]
fn interleave(even: &[u8], odd: &[u8], both: &mut [u8]) {
    for (pair, (even, odd)) in both.as_chunks_mut::<2>().0.iter_mut().zip(even.iter().zip(odd)) {
        *pair = [*even, *odd];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_finds_its_place_whatever_the_size() {
        let sizes = [(0, 3), (1, 1), (7, 5), (16, 16), (17, 64), (33, 65), (142, 80), (40, 131)];
        for (width, height) in sizes {
            let from: Vec<u8> = (0..width * height).map(|i| (i * 31 + i / 251) as u8).collect();
            for stride in [height, height + 3] {
                let mut to = vec![7; width * stride];
                turn(&from, width, &mut to, stride);
                for (at, byte) in to.iter().enumerate() {
                    let (x, y) = (at / stride, at % stride);
                    let expected = if y < height { from[y * width + x] } else { 7 };
                    assert_eq!(*byte, expected, "{width}x{height} at {x},{y}");
                }
            }
        }
    }
}
