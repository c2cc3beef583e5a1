//! A TCP proxy between client and broker that loses answers.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;

/// Which answers get lost.
#[derive(Default)]
pub struct Faults {
    /// The next answer to a produce request is swallowed and the connection cut.
    pub lose_next: AtomicBool,
    /// How many were lost.
    pub lost: AtomicU32,
}

/// Forwards the listener's connections to `port` until the process ends.
pub fn start(listener: TcpListener, port: u16) -> Arc<Faults> {
    let faults = Arc::new(Faults::default());
    let shared = Arc::clone(&faults);
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let Ok(broker) = TcpStream::connect(("127.0.0.1", port)) else { continue };
            let produced = Arc::new(AtomicBool::new(false));
            let (from, to) = (client.try_clone(), broker.try_clone());
            let (Ok(from), Ok(to)) = (from, to) else { continue };
            let seen = Arc::clone(&produced);
            thread::spawn(move || requests(from, to, &seen));
            let faults = Arc::clone(&shared);
            thread::spawn(move || answers(broker, client, &produced, &faults));
        }
    });
    faults
}

/// Frame by frame: a length of four bytes, then the request, beginning with its kind.
fn requests(mut from: TcpStream, mut to: TcpStream, produced: &AtomicBool) {
    while let Some(frame) = frame(&mut from) {
        if frame[4..6] == [0, 0] {
            produced.store(true, Ordering::Release);
        }
        if to.write_all(&frame).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
}

fn answers(mut from: TcpStream, mut to: TcpStream, produced: &AtomicBool, faults: &Faults) {
    while let Some(frame) = frame(&mut from) {
        let is_produce = produced.swap(false, Ordering::AcqRel);
        if is_produce && faults.lose_next.swap(false, Ordering::AcqRel) {
            faults.lost.fetch_add(1, Ordering::AcqRel);
            break;
        }
        if to.write_all(&frame).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
    let _ = from.shutdown(Shutdown::Both);
}

fn frame(from: &mut TcpStream) -> Option<Vec<u8>> {
    let mut frame = vec![0; 4];
    from.read_exact(&mut frame).ok()?;
    let length = u32::from_be_bytes([frame[0], frame[1], frame[2], frame[3]]) as usize;
    frame.resize(4 + length, 0);
    from.read_exact(&mut frame[4..]).ok()?;
    (length >= 2).then_some(frame)
}
