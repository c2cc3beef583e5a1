//! The cases of classes 1 to 7, by their numbers there, and some that Autobahn can't send.

use super::*;

pub(super) fn all() -> Vec<Case> {
    let classes =
        [framing(), pings(), reserved(), fragmentation(), utf8(), fast(), closing(), forbidden()];
    classes.into_iter().flatten().collect()
}

fn framing() -> Vec<Case> {
    let sizes = [0usize, 1, 125, 126, 127, 128, 65_535, 65_536];
    let both = sizes.map(|len| {
        let (stars, bytes) = (vec![b'*'; len], vec![0xfeu8; len]);
        [
            case(format!("1.1 text of {len}"), &[frame(TEXT, &stars)], &[text(&stars)]),
            case(format!("1.2 {len} bytes"), &[frame(BINARY, &bytes)], &[binary(&bytes)]),
        ]
    });
    both.into_iter().flatten().collect()
}

fn pings() -> Vec<Case> {
    let answered =
        |name: &str, payload: &[u8]| case(name, &[frame(PING, payload)], &[pong(payload)]);
    let ten: Vec<String> = (0..10).map(|n| format!("payload-{n}")).collect();
    let ten_pings: Vec<_> = ten.iter().map(|payload| frame(PING, payload.as_bytes())).collect();
    let ten_pongs: Vec<_> = ten.iter().map(pong).collect();
    let unsolicited = frame(PONG, b"unsolicited");
    vec![
        answered("2.1 empty ping", b""),
        answered("2.2 ping", b"Hello, world!"),
        answered("2.3 ping of bytes", b"\x00\xff\xfe\xfd\xfc\xfb\x00\xff"),
        answered("2.4 longest ping", &[0xfe; 125]),
        case("2.5 longer ping", &[frame(PING, &[0xfe; 126])], &[closed(1002)]),
        case("2.7 empty pong", &[frame(PONG, b"")], &[]),
        case("2.8 pong", std::slice::from_ref(&unsolicited), &[]),
        case("2.9 pong, ping", &[unsolicited, frame(PING, b"there?")], &[pong("there?")]),
        case("2.10 ten pings", &ten_pings, &ten_pongs),
    ]
}

/// Reserved bits and opcodes; what comes before is answered, what comes behind isn't.
fn reserved() -> Vec<Case> {
    let between = |name: String, bad: Vec<u8>| {
        let sent = [frame(TEXT, b"Hello, world!"), bad, frame(PING, b"")];
        case(name, &sent, &[text("Hello, world!"), closed(1002)])
    };
    let mut cases = Vec::new();
    for bits in 1..8u8 {
        for first in [TEXT, BINARY, CLOSE, PING, PONG] {
            let bad = frame(first | bits << 4, b"");
            cases.push(between(format!("3 bits {bits} on {first:#x}"), bad));
        }
    }
    for opcode in (3..8u8).chain(11..16) {
        for payload in [&b""[..], b"reserved opcode payload"] {
            let name = format!("4 opcode {opcode} with {} bytes", payload.len());
            cases.push(between(name, frame(LAST | opcode, payload)));
        }
    }
    cases
}

fn fragmentation() -> Vec<Case> {
    let (hello, one) = (frame(TEXT, b"Hello, world!"), frame(TEXT_BEGINS, b"fragment1"));
    let (more, last) = (frame(MORE, b"fragment2"), frame(LAST, b"fragment2"));
    let whole = text("fragment1fragment2");
    let bad = |name: &str, frames: &[Vec<u8>]| case(name, frames, &[closed(1002)]);
    let five = [
        one.clone(),
        more.clone(),
        frame(PING, b"pongme 1!"),
        frame(MORE, b"fragment3"),
        frame(MORE, b"fragment4"),
        frame(PING, b"pongme 2!"),
        frame(LAST, b"fragment5"),
    ];
    let all = text("fragment1fragment2fragment3fragment4fragment5");
    vec![
        bad("5.1 ping in two", &[frame(0x09, b"fragment1"), last.clone()]),
        bad("5.2 pong in two", &[frame(0x0a, b"fragment1"), last.clone()]),
        case("5.3 text in two", &[one.clone(), last.clone()], std::slice::from_ref(&whole)),
        case(
            "5.3 bytes in two",
            &[frame(BINARY_BEGINS, b"\xff"), frame(LAST, b"\xfe")],
            &[binary(b"\xff\xfe")],
        ),
        case(
            "5.6 a ping between",
            &[one.clone(), frame(PING, b"ping"), last.clone()],
            &[pong("ping"), whole.clone()],
        ),
        bad("5.9 the end of nothing", &[last.clone(), hello.clone()]),
        bad("5.12 more of nothing", &[more.clone(), hello.clone()]),
        case(
            "5.15 more behind the end",
            &[one.clone(), last.clone(), frame(MORE, b"fragment3"), hello],
            &[whole, closed(1002)],
        ),
        bad("5.16 more of nothing, then a text", &[more, one.clone(), last.clone()]),
        bad("5.17 the end of nothing, then a text", &[last.clone(), one.clone(), last]),
        bad("5.18 a text amid a text", &[one, frame(TEXT, b"fragment2")]),
        case("5.19 pings amid five pieces", &five, &[pong("pongme 1!"), pong("pongme 2!"), all]),
    ]
}

/// What is valid, each whole and with every octet in a frame of its own.
const VALID: [&str; 19] = [
    "hello$world",
    "hello\u{a2}world",
    "hello\u{20ac}world",
    "hello\u{24b62}world",
    "κόσμε",
    "Hello-µ@ßöäüàá-UTF-8!!",
    "\0",
    "\u{80}",
    "\u{800}",
    "\u{10000}",
    "\u{7f}",
    "\u{7ff}",
    "\u{ffff}",
    "\u{10ffff}",
    "\u{d7ff}",
    "\u{e000}",
    "\u{fffd}",
    "\u{fffe}",
    "\u{1fffe}\u{1ffff}\u{8fffe}\u{8ffff}\u{10fffe}",
];

/// Without their last octet.
const CUT: [&[u8]; 10] = [
    b"\xc0",
    b"\xe0\x80",
    b"\xf0\x80\x80",
    b"\xf8\x80\x80\x80",
    b"\xfc\x80\x80\x80\x80",
    b"\xdf",
    b"\xef\xbf",
    b"\xf7\xbf\xbf",
    b"\xfb\xbf\xbf\xbf",
    b"\xfd\xbf\xbf\xbf\xbf",
];

const INVALID: [&[u8]; 43] = [
    // Five and six octets, and beyond U+10FFFF.
    b"\xf8\x88\x80\x80\x80",
    b"\xfc\x84\x80\x80\x80\x80",
    b"\xf7\xbf\xbf\xbf",
    b"\xfb\xbf\xbf\xbf\xbf",
    b"\xfd\xbf\xbf\xbf\xbf\xbf",
    b"\xf4\x90\x80\x80",
    // Continuations of nothing.
    b"\x80",
    b"\xbf",
    b"\x80\xbf\x80\xbf\x80\xbf",
    // Never octets of UTF-8.
    b"\xfe",
    b"\xff",
    b"\xfe\xfe\xff\xff",
    // Longer than need be.
    b"\xc0\xaf",
    b"\xe0\x80\xaf",
    b"\xf0\x80\x80\xaf",
    b"\xf8\x80\x80\x80\xaf",
    b"\xfc\x80\x80\x80\x80\xaf",
    b"\xc1\xbf",
    b"\xe0\x9f\xbf",
    b"\xf0\x8f\xbf\xbf",
    b"\xf8\x87\xbf\xbf\xbf",
    b"\xfc\x83\xbf\xbf\xbf\xbf",
    b"\xc0\x80",
    b"\xe0\x80\x80",
    b"\xf0\x80\x80\x80",
    b"\xf8\x80\x80\x80\x80",
    b"\xfc\x80\x80\x80\x80\x80",
    // Surrogates, alone and in pairs.
    b"\xed\xa0\x80",
    b"\xed\xad\xbf",
    b"\xed\xae\x80",
    b"\xed\xaf\xbf",
    b"\xed\xb0\x80",
    b"\xed\xbe\x80",
    b"\xed\xbf\xbf",
    b"\xed\xa0\x80\xed\xb0\x80",
    b"\xed\xa0\x80\xed\xbf\xbf",
    b"\xed\xad\xbf\xed\xb0\x80",
    b"\xed\xad\xbf\xed\xbf\xbf",
    b"\xed\xae\x80\xed\xb0\x80",
    b"\xed\xae\x80\xed\xbf\xbf",
    b"\xed\xaf\xbf\xed\xb0\x80",
    b"\xed\xaf\xbf\xed\xbf\xbf",
    b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80edited",
];

/// The sequences of Markus Kuhn's test file, as Autobahn sends them.
fn utf8() -> Vec<Case> {
    const KOSME: &[u8] = b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5";
    let mut invalid: Vec<Vec<u8>> = INVALID.iter().chain(&CUT).map(|bad| bad.to_vec()).collect();
    invalid.push(CUT.concat());
    invalid.push((0x80..0xbfu8).collect());
    for (from, to) in [(0xc0u8, 0xdf), (0xe0, 0xef), (0xf0, 0xf7), (0xf8, 0xfb), (0xfc, 0xfd)] {
        invalid.push((from..to).flat_map(|start| [start, b' ']).collect());
    }
    // Beginnings of a text are valid where a character ends.
    let mut valid: Vec<&[u8]> = VALID.iter().map(|good| good.as_bytes()).collect();
    for len in 1..KOSME.len() {
        let begin = &KOSME[..len];
        match std::str::from_utf8(begin) {
            Ok(_) => valid.push(begin),
            Err(_) => invalid.push(begin.to_vec()),
        }
    }

    let empty = [frame(TEXT_BEGINS, b""), frame(MORE, b""), frame(LAST, b"")];
    let amid = [frame(TEXT_BEGINS, b""), frame(MORE, b"middle"), frame(LAST, b"")];
    let between = [frame(TEXT_BEGINS, &KOSME[..3]), frame(PING, b"p"), frame(LAST, &KOSME[3..])];
    let mut cases = vec![
        case("6.1.2 three empty pieces", &empty, &[text("")]),
        case("6.1.3 empty pieces around one", &amid, &[text("middle")]),
        case("6.2 a ping amid a character", &between, &[pong("p"), text(KOSME)]),
    ];
    for good in valid {
        let name = good.escape_ascii();
        cases.push(case(format!("6 valid {name}"), &[frame(TEXT, good)], &[text(good)]));
        let frames = fragments(TEXT_BEGINS, good, 1);
        cases.push(case(format!("6 valid {name}, octet-wise"), &frames, &[text(good)]));
    }
    for bad in &invalid {
        let name = bad.escape_ascii();
        cases.push(case(format!("6 invalid {name}"), &[frame(TEXT, bad)], &[closed(1007)]));
        let frames = fragments(TEXT_BEGINS, bad, 1);
        cases.push(case(format!("6 invalid {name}, octet-wise"), &frames, &[closed(1007)]));
    }
    cases
}

/// 6.4: the octet that can't be UTF-8 ends it, though nothing comes behind. What came before
/// was fine, as the pong shows.
fn fast() -> Vec<Case> {
    let begin = [frame(TEXT_BEGINS, "κόσμε".as_bytes()), frame(PING, b"p")].concat();
    let long = frame(MORE, &[&b"\xf4\x90"[..], &[b'x'; 94]].concat());
    // A header has six bytes here.
    let cut = |octets: usize| long[..6 + octets].to_vec();
    let ends =
        |name: &str, bad: Vec<u8>| case(name, &[begin.clone(), bad], &[pong("p"), closed(1007)]);
    vec![
        ends("6.4.1 by a frame", frame(MORE, b"\xf4\x90\x80\x80")),
        ends("6.4.2 by an octet", frame(MORE, b"\xf4\x90")),
        ends("6.4.3 within a frame", cut(20)),
        ends("6.4.4 by an octet within a frame", cut(2)),
        case(
            "6.4 what may become a character",
            &[begin.clone(), frame(MORE, b"\xf4"), frame(PING, b"q"), frame(LAST, b"\x8f\xbf\xbf")],
            &[pong("p"), pong("q"), text("κόσμε\u{10ffff}")],
        ),
    ]
}

fn closing() -> Vec<Case> {
    let (normal, hello) = (close(1000, b""), frame(TEXT, b"Hello, world!"));
    let ends = |name: &str, frames: &[Vec<u8>], code: u16| case(name, frames, &[closed(code)]);
    let said = [hello.clone(), normal.clone()];
    let amid = [frame(TEXT_BEGINS, b"fragment1"), normal.clone(), frame(LAST, b"fragment2")];
    let mut cases = vec![
        case("7.1.1 a text before", &said, &[text("Hello, world!"), closed(1000)]),
        ends("7.1.2 twice", &[normal.clone(), frame(CLOSE, b"")], 1000),
        ends("7.1.3 a ping behind", &[normal.clone(), frame(PING, b"")], 1000),
        ends("7.1.4 a text behind", &[normal, hello], 1000),
        ends("7.1.5 amid a text", &amid, 1000),
        case("7.3.1 without a code", &[frame(CLOSE, b"")], &[Heard(CLOSE, Vec::new())]),
        ends("7.3.2 half a code", &[frame(CLOSE, b"a")], 1002),
        ends("7.3.4 with a reason", &[close(1000, b"Hello, world!")], 1000),
        ends("7.3.5 with the longest", &[close(1000, &[b'*'; 123])], 1000),
        ends("7.3.6 with a longer one", &[close(1000, &[b'*'; 124])], 1002),
        ends("7.5.1 with one that isn't UTF-8", &[close(1000, b"\xce\xba\xed\xa0\x80ed")], 1007),
    ];
    let echoed = [
        1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000,
        4999,
    ];
    let refused = [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535];
    let answers = echoed.map(|code: u16| (code, code));
    let refusals = refused.map(|code: u16| (code, 1002));
    for (code, answer) in answers.into_iter().chain(refusals) {
        cases.push(ends(&format!("7.7 to 7.13 code {code}"), &[close(code, b"")], answer));
        let reasoned = [close(code, b"Reason")];
        cases.push(ends(&format!("7.7 to 7.13 code {code}, reasoned"), &reasoned, answer));
    }
    cases
}

/// What Autobahn can't send.
fn forbidden() -> Vec<Case> {
    let bad = |name: &str, bytes: &[u8], code: u16| case(name, &[bytes.to_vec()], &[closed(code)]);
    // 64 MiB and an octet more.
    let huge = [&[0x81u8, 0xff, 0, 0, 0, 0, 4, 0, 0, 1][..], &[0; 4]].concat();
    let endless = [&[0x81u8, 0xff][..], &[0xff; 8], &[0; 4]].concat();
    vec![
        bad("5.1 of the RFC: without a mask", b"\x81\x02hi", 1002),
        bad("5.2: a length of 2 in 16 bits", b"\x81\xfe\x00\x02\0\0\0\0hi", 1002),
        bad("5.2: a length of 2 in 64 bits", b"\x81\xff\0\0\0\0\0\0\0\x02\0\0\0\0hi", 1002),
        bad("5.2: a length beyond 63 bits", &endless, 1002),
        bad("7.4.1: more than is taken, by its head alone", &huge, 1009),
    ]
}
