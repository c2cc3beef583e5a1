//! One row for each rule, by Autobahn's class.

use http::{HeaderMap, HeaderValue, Method};

use super::Seen::{Binary, Close, Ping, Pong, Refused, Text};
use super::*;

const MAX: u64 = 1 << 24;

fn text(text: &str) -> Seen {
    Text(text.to_owned())
}

/// Each whole, and byte by byte.
fn check(name: &str, frames: &[Vec<u8>], expected: &[Seen]) {
    let bytes = frames.concat();
    assert_eq!(seen(&[&bytes], MAX), expected, "{name}, whole");
    let single: Vec<&[u8]> = bytes.chunks(1).collect();
    assert_eq!(seen(&single, MAX), expected, "{name}, byte by byte");
}

#[test]
fn class_1_framing() {
    for len in [0, 1, 125, 126, 127, 128, 65_535, 65_536] {
        let payload = "*".repeat(len);
        check("1.1 text", &[sent(0x81, payload.as_bytes())], &[text(&payload)]);
        let bytes = vec![0xfe; len];
        check("1.2 binary", &[sent(0x82, &bytes)], &[Binary(bytes)]);
    }
}

#[test]
fn class_2_pings_and_pongs() {
    check("2.1 empty ping", &[sent(0x89, b"")], &[Ping(vec![])]);
    check("2.3 binary ping", &[sent(0x89, &[0, 255, 254])], &[Ping(vec![0, 255, 254])]);
    check("2.4 the longest ping", &[sent(0x89, &[254; 125])], &[Ping(vec![254; 125])]);
    check("2.5 a longer ping", &[sent(0x89, &[254; 126])], &[Refused(1002)]);
    check("2.7 unsolicited pong", &[sent(0x8a, b"x"), sent(0x89, b"y")], &[Pong, Ping(vec![b'y'])]);
    let ten: Vec<_> = (0..10).map(|i| sent(0x89, &[i])).collect();
    check("2.10 ten pings", &ten, &(0..10).map(|i| Ping(vec![i])).collect::<Vec<_>>());
}

#[test]
fn class_3_reserved_bits() {
    for bits in 1..8u8 {
        for opcode in [1, 2, 8, 9, 10] {
            let bad = sent(0x80 | bits << 4 | opcode, b"x");
            check("3", &[sent(0x81, b"ok"), bad], &[text("ok"), Refused(1002)]);
        }
    }
}

#[test]
fn class_4_opcodes() {
    for opcode in [3, 4, 5, 6, 7, 11, 12, 13, 14, 15] {
        check("4", &[sent(0x80 | opcode, b"")], &[Refused(1002)]);
    }
}

#[test]
fn class_5_fragments() {
    check("5.1 ping in two", &[sent(0x09, b"a"), sent(0x80, b"b")], &[Refused(1002)]);
    check("5.2 pong in two", &[sent(0x0a, b"a"), sent(0x80, b"b")], &[Refused(1002)]);
    check("5.3 two pieces", &[sent(0x01, b"frag"), sent(0x80, b"ment")], &[text("fragment")]);
    check(
        "5.6 ping between",
        &[sent(0x01, b"frag"), sent(0x89, b"p"), sent(0x80, b"ment")],
        &[Ping(b"p".to_vec()), text("fragment")],
    );
    check("5.9 nothing to continue", &[sent(0x80, b"x"), sent(0x81, b"y")], &[Refused(1002)]);
    check("5.12 nothing to continue", &[sent(0x00, b"x"), sent(0x81, b"y")], &[Refused(1002)]);
    check(
        "5.15 after the end",
        &[sent(0x01, b"a"), sent(0x80, b"b"), sent(0x00, b"c")],
        &[text("ab"), Refused(1002)],
    );
    check("5.18 a text amid a text", &[sent(0x01, b"a"), sent(0x81, b"b")], &[Refused(1002)]);
    check(
        "5.19 pings between many pieces",
        &[
            sent(0x01, b"1"),
            sent(0x00, b"2"),
            sent(0x89, b"p"),
            sent(0x00, b""),
            sent(0x89, b"q"),
            sent(0x80, b"3"),
        ],
        &[Ping(b"p".to_vec()), Ping(b"q".to_vec()), text("123")],
    );
    check("binary in pieces", &[sent(0x02, &[255]), sent(0x80, &[254])], &[Binary(vec![255, 254])]);
    check("empty pieces", &[sent(0x01, b""), sent(0x00, b""), sent(0x80, b"")], &[text("")]);
}

#[test]
fn class_6_utf8() {
    let greek = "Hello-µ@ßöäüàá-UTF-8!!κόσμε";
    check("6.2.1 whole", &[sent(0x81, greek.as_bytes())], &[text(greek)]);
    for cut in 0..greek.len() {
        let (a, b) = greek.as_bytes().split_at(cut);
        check("6.2.3 cut anywhere", &[sent(0x01, a), sent(0x80, b)], &[text(greek)]);
    }
    for valid in ["\u{0}", "\u{7f}", "\u{7ff}", "\u{fffd}", "\u{ffff}", "\u{10ffff}", "\u{1fffe}"] {
        check("6.6 to 6.23 valid", &[sent(0x81, valid.as_bytes())], &[text(valid)]);
    }
    for bad in [
        &b"\x80"[..],                // 6.12 continuation alone
        b"\xc0\xaf",                 // 6.14 overlong
        b"\xe0\x80\xaf",             // 6.14 overlong
        b"\xf0\x80\x80\xaf",         // 6.14 overlong
        b"\xc1\xbf",                 // 6.15 the greatest overlong
        b"\xfe",                     // 6.13 never a byte of UTF-8
        b"\xff",                     // 6.13
        b"\xed\xa0\x80",             // 6.16 a surrogate
        b"\xed\xad\xbf\xed\xb0\x80", // 6.17 paired surrogates
        b"\xf4\x90\x80\x80",         // 6.5 beyond U+10FFFF
        b"\xf8\x88\x80\x80\x80",     // 6.9 five bytes
        b"\xce",                     // 6.8 cut off
        b"\xf0\x9f\x98",             // 6.8 cut off
    ] {
        check("6 invalid", &[sent(0x81, bad)], &[Refused(1007)]);
        check("6 invalid later", &[sent(0x01, b"ok"), sent(0x80, bad)], &[Refused(1007)]);
    }
}

/// 6.4: the first impossible byte ends it, though neither frame nor message is complete.
#[test]
fn class_6_fails_fast() {
    let start = "κόσμε".as_bytes();
    let bad = b"\xf4\x90";
    let mut first = sent(0x01, start);
    first.extend(&sent(0x00, &[bad, &b"\x80\x80edited"[..]].concat())[..6 + 2]);
    assert_eq!(seen(&[&first], MAX), [Refused(1007)], "within a frame that isn't complete");
    let pieces = [sent(0x01, start), sent(0x00, bad)].concat();
    assert_eq!(seen(&[&pieces], MAX), [Refused(1007)], "within a message that isn't complete");
    let cut = [sent(0x01, start), sent(0x00, &bad[..1])].concat();
    assert_eq!(seen(&[&cut], MAX), [], "what may become a character isn't refused");
}

#[test]
fn class_7_closing() {
    check("7.1.2 nothing after it", &[sent(0x88, b""), sent(0x88, b"")], &[Close(None)]);
    check("7.1.5 amid a message", &[sent(0x01, b"a"), sent(0x88, b"")], &[Close(None)]);
    check("7.3.1 empty", &[sent(0x88, b"")], &[Close(None)]);
    check("7.3.2 one byte", &[sent(0x88, b"a")], &[Refused(1002)]);
    let with = |code: u16, text: &[u8]| sent(0x88, &[&code.to_be_bytes()[..], text].concat());
    check("7.3.4 text", &[with(1000, b"Hello!")], &[Close(Some((1000, "Hello!".into())))]);
    let longest = "*".repeat(123);
    let expected = [Close(Some((1000, longest.clone())))];
    check("7.3.5 longest", &[with(1000, longest.as_bytes())], &expected);
    check("7.3.6 longer", &[with(1000, &[b'*'; 124])], &[Refused(1002)]);
    check("7.5.1 not UTF-8", &[with(1000, b"\xce\xba\xed\xa0\x80")], &[Refused(1007)]);
    for code in [
        1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000,
        4999,
    ] {
        check("7.7 codes", &[with(code, b"")], &[Close(Some((code, String::new())))]);
    }
    for code in [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535] {
        check("7.9 codes", &[with(code, b"")], &[Refused(1002)]);
    }
}

#[test]
fn class_9_and_10_sizes() {
    let long = "x".repeat(1 << 20);
    assert_eq!(seen(&[&sent(0x81, long.as_bytes())], MAX), [text(&long)]);
    let mut frames = vec![sent(0x01, &long.as_bytes()[..64])];
    frames.extend(long.as_bytes()[64..].chunks(64).map(|piece| sent(0x00, piece)));
    frames.push(sent(0x80, b""));
    assert_eq!(seen(&[&frames.concat()], MAX), [text(&long)], "9.3 in pieces of 64 bytes");
}

#[test]
fn messages_are_bounded_before_they_are_read() {
    let over = sent(0x81, &[b'x'; 2001]);
    assert_eq!(seen(&[&over[..8]], 2000), [Refused(1009)], "by the header alone");
    assert_eq!(seen(&[&sent(0x81, &[b'x'; 2000])], 2000), [text(&"x".repeat(2000))]);
    let pieces = [sent(0x01, &[b'x'; 1500]), sent(0x80, &[b'x'; 501])].concat();
    assert_eq!(seen(&[&pieces], 2000), [Refused(1009)], "over all frames");
}

#[test]
fn what_clients_must_not_do() {
    check("unmasked", &[b"\x81\x02hi".to_vec()], &[Refused(1002)]);
    let mut padded = vec![0x81, 0x80 | 126, 0, 2, 0, 0, 0, 0];
    padded.extend(b"hi");
    check("a length of 2 in 16 bits", &[padded], &[Refused(1002)]);
    let mut padded = vec![0x81, 0x80 | 127, 0, 0, 0, 0, 0, 0, 0, 200, 0, 0, 0, 0];
    padded.extend([b'x'; 200]);
    check("a length of 200 in 64 bits", &[padded], &[Refused(1002)]);
    let endless = [0x81, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0];
    check("a length beyond 63 bits", &[endless.to_vec()], &[Refused(1002)]);
}

#[test]
fn nothing_is_held_between_messages() {
    let limits = Limits { message_bytes_max: MAX };
    let mut parser = Parser::default();
    for frames in [
        vec![sent(0x81, b"whole")],
        vec![sent(0x01, b"in "), sent(0x89, b"ping"), sent(0x80, b"pieces")],
        vec![sent(0x89, b"ping")],
    ] {
        for byte in frames.concat() {
            parser.next(&mut [byte], limits).unwrap();
        }
        assert!(!parser.is_amid_message());
    }
    assert!(size_of::<Parser>() <= 56, "{} bytes for each viewer", size_of::<Parser>());
}

#[test]
fn frames_to_viewers_have_the_shortest_header() {
    assert_eq!(
        frame(Opcode::Close, &CloseReason::new(CloseCode(1001), "bye").payload()),
        b"\x88\x05\x03\xe9bye"
    );
    let (head, len) = header(126);
    assert_eq!(&head[..len], [0x81, 126, 0, 126]);
    let (head, len) = header(65_536);
    assert_eq!(&head[..len], [0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0]);
    assert_eq!(CloseReason::new(CloseCode::NORMAL, "é".repeat(100)).payload().len(), 2 + 122);
}

#[test]
fn the_handshake_of_the_rfc() {
    let mut headers = HeaderMap::new();
    for (name, value) in [
        ("host", "server.example.com"),
        ("upgrade", "websocket"),
        ("connection", "keep-alive, Upgrade"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ("sec-websocket-version", "13"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    assert_eq!(accept(&Method::GET, &headers).unwrap(), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    assert_eq!(accept(&Method::POST, &headers), Err(Refusal::Method));
    for (name, value, refusal) in [
        ("upgrade", "h2c", Refusal::NotAnUpgrade),
        ("connection", "keep-alive", Refusal::NotAnUpgrade),
        ("sec-websocket-version", "8", Refusal::Version),
        ("sec-websocket-key", "c2hvcnQ=", Refusal::Key),
        ("sec-websocket-key", "no base64!", Refusal::Key),
    ] {
        let mut headers = headers.clone();
        headers.insert(name, HeaderValue::from_static(value));
        assert_eq!(accept(&Method::GET, &headers), Err(refusal), "{name}: {value}");
    }
    headers.remove("host");
    assert_eq!(accept(&Method::GET, &headers), Err(Refusal::Host));
}
