//! A run against a server of three lines, which does what the test says.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use crate::{Dialect, LoadError, Mark, Options, People, Publish, run};

const SWITCHING: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\n\r\n";

/// Accepts one viewer after the other; what each is told.
fn serve(viewer: impl Fn(TcpStream) + Clone + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (viewer, stream) = (viewer.clone(), stream.unwrap());
            std::thread::spawn(move || viewer(stream));
        }
    });
    address
}

fn millstream(address: SocketAddr) -> Options {
    Options {
        dialect: Dialect::Millstream,
        duration: Duration::from_millis(300),
        patience: Duration::from_millis(300),
        ..Options::new(address)
    }
}

/// Reads a request's head.
fn head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    String::from_utf8(head).unwrap()
}

/// Reads a text, which was masked with zeros; None at the end.
fn heard(stream: &mut TcpStream) -> Option<String> {
    let mut header = [0; 2];
    stream.read_exact(&mut header).ok()?;
    let mut len = usize::from(header[1] & 0x7f);
    if len == 126 {
        let mut long = [0; 2];
        stream.read_exact(&mut long).ok()?;
        len = usize::from(u16::from_be_bytes(long));
    }
    let mut text = vec![0; len + 4];
    stream.read_exact(&mut text).ok()?;
    String::from_utf8(text.split_off(4)).ok()
}

fn tell(stream: &mut TcpStream, text: &str) {
    let mut frame = vec![0x81, 126];
    frame.extend((text.len() as u16).to_be_bytes());
    frame.extend_from_slice(text.as_bytes());
    // A viewer that is through is gone.
    let _gone = stream.write_all(&frame);
}

fn welcome(stream: &mut TcpStream, seq: u64, recovered: bool) {
    tell(
        stream,
        &format!(r#"{{"type":"welcome","epoch":"77","seq":{seq},"recovered":{recovered}}}"#),
    );
}

fn message(stream: &mut TcpStream, seq: u64, text: &str) {
    tell(stream, &format!(r#"{{"type":"message","seq":{seq},"message":"{text}"}}"#));
}

#[test]
fn gaps_and_repetitions_are_those_of_the_room() {
    let address = serve(|mut stream| {
        head(&mut stream);
        stream.write_all(SWITCHING).unwrap();
        welcome(&mut stream, 5, true);
        // What somebody says without a mark counts for the order, and is no delivery.
        message(&mut stream, 6, "hi");
        for seq in [7, 9, 9] {
            message(&mut stream, seq, &Mark::now(1, 1).text());
        }
        heard(&mut stream);
    });
    let report = run(Options { viewers: 3, threads: 2, ..millstream(address) }).unwrap();
    let found = &report.findings;
    assert_eq!((found.gaps, found.repeated, report.lost, report.last), (3, 3, 0, 9), "{report}");
    assert_eq!(found.deliveries.iter().sum::<u64>(), 9);
    assert!(!report.is_clean() && found.faults.is_empty());
}

#[test]
fn what_a_viewer_lacks_is_lost() {
    let address = serve(|mut stream| {
        let last = if head(&mut stream).starts_with("GET /0 ") { 5 } else { 3 };
        stream.write_all(SWITCHING).unwrap();
        welcome(&mut stream, 0, true);
        for seq in 1..=last {
            message(&mut stream, seq, &Mark::now(1, seq).text());
        }
        heard(&mut stream);
    });
    let path = "/{viewer}".to_owned();
    let report = run(Options { viewers: 2, path, ..millstream(address) }).unwrap();
    assert_eq!((report.findings.gaps, report.lost, report.last), (0, 2, 5), "{report}");
}

#[test]
fn people_speak_in_turn_and_hear_what_became_of_it() {
    let address = serve(|mut stream| {
        head(&mut stream);
        stream.write_all(SWITCHING).unwrap();
        welcome(&mut stream, 0, true);
        let (mut seq, mut hellos) = (0, 0);
        while let Some(text) = heard(&mut stream) {
            if text.starts_with(r#"{"type":"hello""#) {
                hellos += 1;
                assert!(text.contains(&format!(r#""token":"t{hellos}""#)), "{text}");
                tell(&mut stream, r#"{"type":"you","name":"ann"}"#);
                continue;
            }
            let name = text.split(r#""client_id":""#).nth(1).unwrap().trim_end_matches("\"}");
            if hellos == 1 {
                seq += 1;
                tell(
                    &mut stream,
                    &format!(r#"{{"type":"accepted","client_id":"{name}","seq":{seq}}}"#),
                );
                message(&mut stream, seq, name);
            } else {
                let code = r#""status":429,"code":"user_limit","retry_after_s":9"#;
                tell(&mut stream, &format!(r#"{{"type":"refused","client_id":"{name}",{code}}}"#));
            }
        }
    });
    let people =
        People { tokens: vec!["t1".into(), "t2".into()], sockets: 1, each: 4, ..People::default() };
    let report = run(Options {
        publish: Publish::People(people),
        rate: 20.0,
        text_bytes: 200,
        ..millstream(address)
    })
    .unwrap();
    let found = &report.findings;
    assert_eq!((report.published, report.last, report.lost), (6, 4, 0), "{report}");
    assert_eq!((found.accepted.iter().sum::<u64>(), found.answers.total()), (4, 4));
    assert_eq!(found.refused.get("429 user_limit"), Some(&2));
    assert!(report.is_clean(), "{report}");
}

#[test]
fn who_comes_back_tells_what_it_has() {
    let address = serve(|mut stream| {
        let head = head(&mut stream);
        stream.write_all(SWITCHING).unwrap();
        if head.starts_with("GET /first ") {
            welcome(&mut stream, 3, true);
            message(&mut stream, 4, &Mark::now(1, 1).text());
        } else {
            assert!(head.starts_with("GET /back?epoch=77&seq=4 "), "{head}");
            // It has forgotten two of them.
            welcome(&mut stream, 6, false);
            message(&mut stream, 7, &Mark::now(1, 2).text());
        }
        heard(&mut stream);
    });
    let report = run(Options {
        path: "/first".into(),
        path_back: Some("/back?epoch={epoch}&seq={seq}".into()),
        ..millstream(address)
    })
    .unwrap();
    let found = &report.findings;
    assert!(report.returning.is_some());
    assert_eq!((found.unrecovered, found.gaps, report.lost), (1, 2, 0), "{report}");
}

#[test]
fn a_session_that_is_none_ends_it_with_the_reason() {
    let address = serve(|mut stream| {
        head(&mut stream);
        stream.write_all(SWITCHING).unwrap();
        welcome(&mut stream, 0, true);
        heard(&mut stream);
        tell(&mut stream, r#"{"type":"refused","status":401,"code":"token","detail":"no"}"#);
        heard(&mut stream);
    });
    let people = People { tokens: vec!["t".into()], sockets: 1, ..People::default() };
    let options = Options { publish: Publish::People(people), rate: 1.0, ..millstream(address) };
    match run(options) {
        Err(LoadError::NotOpen { open: 0, viewers: 1, told: Some(told), .. }) => {
            assert!(told.contains("401"), "{told}");
        }
        other => panic!("{other:?}"),
    }
}
