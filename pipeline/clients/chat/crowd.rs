//! A thread's share of the viewers: opens them a few at a time, then listens, and speaks.

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token, Waker};
use socket2::{Domain, SockRef, Socket, Type};

use crate::findings::Findings;
use crate::handshake::Requests;
use crate::marker::Marks;
use crate::options::Dialect;
use crate::phase::{Phase, Shared};
use crate::speakers::{MOMENT, Speakers};
use crate::viewer::{Around, Knock, Stage, Viewer};

const WAKER: Token = Token(usize::MAX);
const READ_BYTES: usize = 256 * 1024;
/// Source addresses: from each a client has only some twenty-eight thousand ports.
const SOURCES: usize = 64;

pub struct Crowd {
    pub address: SocketAddr,
    pub requests: Requests,
    pub dialect: Dialect,
    pub viewers: usize,
    /// The first viewer's number, for spreading them over source addresses.
    pub first: usize,
    pub opening_max: usize,
    pub run: Option<u64>,
    /// All of these viewers speak, and aren't cut; or none does.
    pub speakers: Option<Speakers>,
    pub shared: Arc<Shared>,
}

impl Crowd {
    /// Runs until it is over.
    pub fn run(mut self, mut poll: Poll) -> io::Result<Findings> {
        let shared = Arc::clone(&self.shared);
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
            let phase = shared.phase();
            if phase == Phase::Over {
                break;
            }
            if phase == Phase::Returning && !is_back && self.speakers.is_none() {
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
            match poll.poll(&mut events, Some(self.wait())) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
                _ => {}
            }
            let around = Around {
                marks: &marks,
                run: self.run,
                dialect: self.dialect,
                part: shared.phase().part(is_back),
                row: 1 + usize::from(is_back),
                until_ns: shared.clock().until_ns,
                epoch: &shared.epoch,
            };
            for event in &events {
                if event.token() == WAKER {
                    continue;
                }
                let index = event.token().0;
                let Some(viewer) = viewers.get_mut(index) else { continue };
                let before = viewer.stage;
                if event.is_writable() {
                    viewer.writable(&mut findings);
                }
                if event.is_readable() || event.is_error() {
                    viewer.readable(&mut buffer, &around, &mut findings);
                }
                self.note(before, viewer.stage, &mut opening);
                for news in findings.news.drain(..) {
                    if let Some(speakers) = &mut self.speakers {
                        speakers.hear(index, news);
                    }
                }
            }
            shared.seen.fetch_max(findings.greatest, Ordering::AcqRel);
            self.speak(&mut viewers, &mut findings);
            let target = shared.target.load(Ordering::Acquire);
            if target > 0 && !is_complete && self.lacking(target, &viewers) == 0 {
                is_complete = true;
                shared.complete.fetch_add(1, Ordering::AcqRel);
            }
        }
        let target = shared.target.load(Ordering::Acquire);
        shared.lost.fetch_add(self.lacking(target, &viewers), Ordering::AcqRel);
        if let Some(speakers) = &self.speakers {
            findings.unanswered = speakers.unanswered();
        }
        Ok(findings)
    }

    fn wait(&self) -> Duration {
        match &self.speakers {
            Some(speakers) if self.shared.phase() != Phase::Opening => {
                speakers.wait(&self.shared.clock())
            }
            _ => MOMENT,
        }
    }

    /// Says what is due, and tells how far that is.
    fn speak(&mut self, viewers: &mut [Viewer], findings: &mut Findings) {
        let phase = self.shared.phase();
        let Some(speakers) = self.speakers.as_mut().filter(|_| phase != Phase::Opening) else {
            return;
        };
        let clock = self.shared.clock();
        speakers.speak(&clock, viewers, findings);
        findings.said = speakers.said();
        self.shared.said.store(findings.said, Ordering::Release);
        self.shared.accepted.store(findings.accepted_last, Ordering::Release);
        if phase >= Phase::Draining && speakers.is_settled(&clock) {
            self.shared.is_settled.store(true, Ordering::Release);
        }
    }

    /// Numbers up to `target` that viewers don't have yet.
    fn lacking(&self, target: u64, viewers: &[Viewer]) -> u64 {
        if target == 0 {
            return 0;
        }
        let open = viewers.iter().filter(|viewer| viewer.stage == Stage::Open);
        let lacking = open.map(|viewer| match viewer.last {
            Some(last) => target.saturating_sub(last),
            // Of what others publish nobody knows where this one should begin; it lacks some.
            None if self.run.is_none() => 1,
            None => target,
        });
        lacking.sum()
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
        if is_back {
            let epoch = self.shared.epoch.get().map_or("", String::as_str);
            let viewer = &mut viewers[index];
            let request = self.requests.back(number, epoch, viewer.last.unwrap_or(0));
            viewer.come_back(stream, request);
        } else {
            viewers.push(Viewer::new(stream, self.requests.first(number), self.knock(index)));
        }
        Ok(())
    }

    fn knock(&self, index: usize) -> Knock {
        let speaks = self.speakers.as_ref().and_then(|speakers| speakers.knock(index));
        speaks.unwrap_or(match self.dialect {
            Dialect::Marks => Knock::Ping,
            Dialect::Millstream => Knock::Welcome,
        })
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
