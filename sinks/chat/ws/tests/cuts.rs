//! Any cut of the bytes gives the same messages, and no bytes at all end in a panic.

use proptest::prelude::*;

use super::*;

/// A message in pieces, with control frames before each piece.
#[derive(Clone, Debug)]
struct Said {
    text: Option<String>,
    bytes: Vec<u8>,
    cuts: Vec<usize>,
    pings: Vec<Vec<u8>>,
}

fn said() -> impl Strategy<Value = Said> {
    (
        prop::option::of("\\PC{0,200}"),
        prop::collection::vec(any::<u8>(), 0..400),
        prop::collection::vec(any::<prop::sample::Index>(), 0..4),
        prop::collection::vec(prop::collection::vec(any::<u8>(), 0..126), 0..4),
    )
        .prop_map(|(text, bytes, cuts, pings)| {
            let len = text.as_ref().map_or(bytes.len(), String::len);
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(len + 1)).collect();
            cuts.sort_unstable();
            Said { text, bytes, cuts, pings }
        })
}

fn encode(said: &[Said]) -> (Vec<u8>, Vec<Seen>) {
    let (mut bytes, mut expected) = (Vec::new(), Vec::new());
    for message in said {
        let (opcode, payload) = match &message.text {
            Some(text) => (1, text.as_bytes()),
            None => (2, &message.bytes[..]),
        };
        let mut from = 0;
        let last = message.cuts.len();
        for (index, to) in message.cuts.iter().copied().chain([payload.len()]).enumerate() {
            if let Some(ping) = message.pings.get(index) {
                bytes.extend(sent(0x89, ping));
                expected.push(Seen::Ping(ping.clone()));
            }
            let first = if index == 0 { opcode } else { 0 } | if index == last { 0x80 } else { 0 };
            bytes.extend(sent(first, &payload[from..to]));
            from = to;
        }
        expected.push(match &message.text {
            Some(text) => Seen::Text(text.clone()),
            None => Seen::Binary(message.bytes.clone()),
        });
    }
    (bytes, expected)
}

fn split<'a>(mut bytes: &'a [u8], lens: &[usize]) -> Vec<&'a [u8]> {
    let mut pieces = Vec::new();
    for len in lens.iter().cycle() {
        if bytes.is_empty() {
            break;
        }
        let (piece, rest) = bytes.split_at((*len).min(bytes.len()));
        pieces.push(piece);
        bytes = rest;
    }
    pieces
}

proptest! {
    #[test]
    fn any_cut_gives_the_same(
        said in prop::collection::vec(said(), 1..5),
        lens in prop::collection::vec(1usize..300, 1..20),
    ) {
        let (bytes, expected) = encode(&said);
        prop_assert_eq!(&seen(&[&bytes], 1 << 20), &expected);
        prop_assert_eq!(&seen(&split(&bytes, &lens), 1 << 20), &expected);
    }

    /// Whatever comes, whole or cut, ends alike.
    #[test]
    fn noise_ends_alike(
        noise in prop::collection::vec(any::<u8>(), 0..600),
        lens in prop::collection::vec(1usize..40, 1..20),
    ) {
        // Fail-fast may refuse a text before a later rule is broken, never otherwise.
        let whole = seen(&[&noise], 4096);
        let cut = seen(&split(&noise, &lens), 4096);
        let same = whole.iter().zip(&cut).take_while(|(a, b)| a == b).count();
        if same < whole.len().max(cut.len()) {
            prop_assert!(cut[same..].iter().all(|seen| *seen == Seen::Refused(1007)));
        }
    }

    /// The same with frames that are nearly right: one byte changed.
    #[test]
    fn a_changed_byte_ends_alike(
        said in prop::collection::vec(said(), 1..4),
        at in any::<prop::sample::Index>(),
        to in any::<u8>(),
        lens in prop::collection::vec(1usize..40, 1..20),
    ) {
        let (mut bytes, _) = encode(&said);
        let at = at.index(bytes.len());
        bytes[at] = to;
        let whole = seen(&[&bytes], 4096);
        let cut = seen(&split(&bytes, &lens), 4096);
        let same = whole.iter().zip(&cut).take_while(|(a, b)| a == b).count();
        if same < whole.len().max(cut.len()) {
            prop_assert!(cut[same..].iter().all(|seen| *seen == Seen::Refused(1007)));
        }
    }
}
