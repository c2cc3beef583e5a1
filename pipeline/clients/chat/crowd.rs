//! A thread's share of the viewers: opens them a few at a time, then listens.

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token, Waker};
use socket2::{Domain, SockRef, Socket, Type};

use crate::marker::Marks;
use crate::viewer::{Around, Findings, Stage, Viewer};

const WAKER: Token = Token(usize::MAX);
const READ_BYTES: usize = 256 * 1024;
/// Source addresses: from each a client has only some twenty-eight thousand ports.
const SOURCES: usize = 64;

/// What is going on, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Viewers join.
    Opening,
    /// All are there.
    Measuring,
    /// All were cut, and come back.
    Returning,
    /// Threads end.
    Over,
}

/// What threads and their starter share.
#[derive(Debug, Default)]
pub struct Shared {
    /// Viewers that are in the room, were refused, or have ended.
    pub open: AtomicUsize,
    pub failed: AtomicUsize,
    /// See [`Phase`].
    pub phase: AtomicUsize,
    /// The last number, once all are published.
    pub published: AtomicU64,
    /// Threads whose viewers all have that.
    pub complete: AtomicUsize,
    /// Numbers that viewers lacked at the end.
    pub lost: AtomicU64,
    /// Texts for the first viewer to say.
    pub outbox: std::sync::Mutex<Vec<String>>,
}

impl Shared {
    pub fn set(&self, phase: Phase) {
        self.phase.store(phase as usize, Ordering::Release);
    }

    fn phase(&self) -> Phase {
        match self.phase.load(Ordering::Acquire) {
            0 => Phase::Opening,
            1 => Phase::Measuring,
            2 => Phase::Returning,
            _ => Phase::Over,
        }
    }
}

impl Phase {
    /// Which part of the findings it is.
    fn part(self, is_back: bool) -> usize {
        match self {
            Self::Opening => 0,
            Self::Measuring => 1,
            // A thread that hasn't cut its viewers yet still measures.
            Self::Returning | Self::Over => 1 + usize::from(is_back),
        }
    }
}

pub struct Crowd {
    pub address: SocketAddr,
    /// A viewer's request; `{viewer}` and `{seq}` are filled in.
    pub request: String,
    /// The request of one that comes back.
    pub request_back: Option<String>,
    pub viewers: usize,
    /// The first viewer's number, for spreading them over source addresses.
    pub first: usize,
    pub opening_max: usize,
    pub run: Option<u64>,
    pub shared: Arc<Shared>,
}

impl Crowd {
    /// Runs until it is over.
    pub fn run(self, mut poll: Poll) -> io::Result<Findings> {
        let mut findings = Findings::default();
        let marks = Marks::default();
        let mut viewers: Vec<Viewer> = Vec::with_capacity(self.viewers);
        let mut buffer = vec![0; READ_BYTES];
        let mut events = Events::with_capacity(4096);
        // Who is to be opened, and how many are being opened: stages change within calls.
        let mut closed: VecDeque<usize> = (0..self.viewers).collect();
        let mut opening = 0;
        let (mut is_complete, mut is_back) = (false, false);
        loop {
            let phase = self.shared.phase();
            if phase == Phase::Over {
                break;
            }
            if phase == Phase::Returning && !is_back {
                is_back = true;
                closed = (0..viewers.len()).collect();
                self.cut(&mut viewers)?;
            }
            while opening < self.opening_max
                && let Some(index) = closed.pop_front()
            {
                self.open(index, is_back, &mut viewers, &poll)?;
                opening += 1;
            }
            match poll.poll(&mut events, Some(Duration::from_millis(50))) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
                _ => {}
            }
            let seqs = self.request_back.is_some();
            let part = self.shared.phase().part(is_back);
            let around = Around { marks: &marks, run: self.run, seqs, part };
            for event in &events {
                if event.token() == WAKER {
                    continue;
                }
                let Some(viewer) = viewers.get_mut(event.token().0) else { continue };
                let before = viewer.stage;
                if event.is_writable() {
                    viewer.writable(&mut findings);
                }
                if event.is_readable() || event.is_error() {
                    viewer.readable(&mut buffer, &around, &mut findings);
                }
                self.note(before, viewer.stage, &mut opening);
            }
            let is_published = self.shared.published.load(Ordering::Acquire) > 0;
            if is_published && !is_complete && self.lacking(&viewers) == 0 {
                is_complete = true;
                self.shared.complete.fetch_add(1, Ordering::AcqRel);
            }
            if self.first == 0 {
                let texts = self.shared.outbox.lock().map(|mut texts| std::mem::take(&mut *texts));
                for text in texts.unwrap_or_default() {
                    viewers[0].say(&text, &mut findings);
                }
            }
        }
        self.shared.lost.fetch_add(self.lacking(&viewers), Ordering::AcqRel);
        Ok(findings)
    }

    /// Numbers up to the last that viewers don't have yet.
    fn lacking(&self, viewers: &[Viewer]) -> u64 {
        let published = self.shared.published.load(Ordering::Acquire);
        let open = viewers.iter().filter(|viewer| viewer.stage == Stage::Open);
        open.map(|viewer| published.saturating_sub(viewer.last.unwrap_or(0))).sum()
    }

    /// Ends all connections at once, as a broken network does.
    fn cut(&self, viewers: &mut [Viewer]) -> io::Result<()> {
        for viewer in viewers {
            SockRef::from(&viewer.stream).set_linger(Some(Duration::ZERO))?;
            viewer.stream.shutdown(std::net::Shutdown::Both).or_else(|error| {
                match error.kind() {
                    io::ErrorKind::NotConnected => Ok(()),
                    _ => Err(error),
                }
            })?;
            viewer.stage = Stage::Over;
        }
        Ok(())
    }

    fn open(
        &self,
        index: usize,
        is_back: bool,
        viewers: &mut Vec<Viewer>,
        poll: &Poll,
    ) -> io::Result<()> {
        let number = self.first + index;
        let mut stream = self.connect(number)?;
        let interest = Interest::READABLE | Interest::WRITABLE;
        poll.registry().register(&mut stream, Token(index), interest)?;
        let template = match &self.request_back {
            Some(request) if is_back => request,
            _ => &self.request,
        };
        let seq = viewers.get(index).map_or(0, |viewer| viewer.seq);
        let request = template
            .replace("{viewer}", &number.to_string())
            .replace("{seq}", &seq.to_string())
            .into_bytes();
        match viewers.get_mut(index) {
            Some(viewer) => viewer.come_back(stream, request),
            None => viewers.push(Viewer::new(stream, request)),
        }
        Ok(())
    }

    fn note(&self, before: Stage, now: Stage, opening: &mut usize) {
        if before == now {
            return;
        }
        if before.is_on_the_way() && !now.is_on_the_way() {
            *opening -= 1;
            if now == Stage::Open {
                self.shared.open.fetch_add(1, Ordering::AcqRel);
            }
        }
        if now == Stage::Over {
            self.shared.failed.fetch_add(1, Ordering::AcqRel);
        }
    }

    fn connect(&self, number: usize) -> io::Result<TcpStream> {
        let socket = Socket::new(Domain::for_address(self.address), Type::STREAM, None)?;
        socket.set_nonblocking(true)?;
        socket.set_tcp_nodelay(true)?;
        if self.address.ip().is_loopback() && self.address.is_ipv4() {
            let source = IpAddr::V4(Ipv4Addr::new(127, 0, 1, (number % SOURCES) as u8 + 1));
            socket.bind(&SocketAddr::new(source, 0).into())?;
        }
        match socket.connect(&self.address.into()) {
            Ok(()) => {}
            Err(error)
                if error.raw_os_error() == Some(rustix::io::Errno::INPROGRESS.raw_os_error()) => {}
            Err(error) => return Err(error),
        }
        Ok(TcpStream::from_std(socket.into()))
    }
}

/// What wakes a crowd that waits.
pub fn waker(poll: &Poll) -> io::Result<Waker> {
    Waker::new(poll.registry(), WAKER)
}
