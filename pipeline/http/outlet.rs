//! A connection whose bytes the kernel takes from a file where it can.
//!
//! ```text
//! handler ── Stored: these bytes also lie there ──┐
//! hyper ──── write(head, chunk, chunk …) ─────► Outlet ─┬─ known to lie in a file ─► sendfile
//!                                                       └─ anything else ──────────► write
//! ```
//!
//! A segment of a megabyte costs six times as much when it is copied into the
//! socket as when the kernel hands over the pages it has anyway.
//!
//! - **Enters**: what the HTTP library writes, and before it [`Places`] of the
//!   response's bytes.
//! - **Leaves**: the same bytes in the same order.
//! - **Held**: the places of one response, whose bytes stay alive meanwhile,
//!   so that an address can't mean anything else.
//! - **Never here**: anything that depends on a place being known: without, or
//!   when the file is shorter than it was, the bytes in memory are written.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use parking_lot::Mutex;
use rustix::io::Errno;
use rustix::net::SendFlags;
use sinks::hls::{HlsBody, InFile};
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;

/// Below this a system call of its own costs more than the copy.
const WORTH_IT: usize = 32 << 10;

/// Where the bytes of the response under way lie, shared by the connection and
/// whoever answers on it.
#[derive(Clone, Default)]
pub struct Places(Arc<Mutex<Vec<Stored>>>);

/// Bytes that lie in a file too.
struct Stored {
    bytes: Bytes,
    at: InFile,
}

impl Places {
    /// Notes where `body`'s bytes lie; those of the response before are forgotten.
    pub fn note(&self, body: &HlsBody) {
        let mut places = self.0.lock();
        places.clear();
        let HlsBody::Chunks { chunks, file: Some(at) } = body else { return };
        let mut offset = at.offset;
        places.extend(chunks.iter().map(|chunk| {
            let at = InFile { file: Arc::clone(&at.file), offset };
            offset += chunk.len() as u64;
            Stored { bytes: chunk.clone(), at }
        }));
    }

    /// Where the first of `slices` lies, and how many bytes from there on the
    /// file has as they are wanted.
    fn find(&self, slices: &[IoSlice<'_>]) -> Option<(InFile, usize)> {
        let places = self.0.lock();
        let mut run: Option<(InFile, usize)> = None;
        for slice in slices {
            let Some(at) = places.iter().find_map(|stored| stored.place_of(slice)) else { break };
            match &mut run {
                None => run = Some((at, slice.len())),
                Some((from, len)) if from.offset + *len as u64 == at.offset => *len += slice.len(),
                Some(_) => break,
            }
        }
        run.filter(|(_, len)| *len >= WORTH_IT)
    }

    /// Forgets a response that is sent up to `end` of its file.
    fn sent(&self, end: u64) {
        let mut places = self.0.lock();
        let last = places.last().map(|last| last.at.offset + last.bytes.len() as u64);
        if last == Some(end) {
            places.clear();
        }
    }

    fn is_empty(&self) -> bool {
        self.0.lock().is_empty()
    }
}

impl Stored {
    fn place_of(&self, slice: &[u8]) -> Option<InFile> {
        let within = slice.as_ptr().addr().checked_sub(self.bytes.as_ptr().addr())?;
        (within + slice.len() <= self.bytes.len()).then(|| InFile {
            file: Arc::clone(&self.at.file),
            offset: self.at.offset + within as u64,
        })
    }
}

/// A TCP connection that knows [`Places`].
pub struct Outlet {
    stream: TcpStream,
    places: Places,
}

impl Outlet {
    /// Takes over a connection in the clear.
    pub fn new(stream: TcpStream, places: Places) -> Self {
        Self { stream, places }
    }

    /// The connection, for another protocol.
    ///
    /// # Errors
    /// The system's.
    pub fn into_socket(self) -> io::Result<std::os::fd::OwnedFd> {
        Ok(self.stream.into_std()?.into())
    }

    /// Asks the kernel until it takes some or has no room.
    fn poll_call(
        &self,
        cx: &mut Context<'_>,
        call: impl Fn() -> Result<usize, Errno>,
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.stream.poll_write_ready(cx))?;
            match self.stream.try_io(Interest::WRITABLE, || Ok(call()?)) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                done => return Poll::Ready(done),
            }
        }
    }

    /// Sends from a file. None: it can't, and the bytes in memory have to be written.
    fn poll_send_file(
        &self,
        cx: &mut Context<'_>,
        from: &InFile,
        len: usize,
    ) -> Poll<Option<io::Result<usize>>> {
        let sent = ready!(self.poll_call(cx, || {
            let mut offset = from.offset;
            rustix::fs::sendfile(&self.stream, &*from.file, Some(&mut offset), len)
        }));
        Poll::Ready(match sent {
            // The file ends before: somebody cut it.
            Ok(0) => None,
            Ok(sent) => {
                self.places.sent(from.offset + sent as u64);
                Some(Ok(sent))
            }
            // What a peer's departure looks like.
            Err(error) if is_the_peers(&error) => Some(Err(error)),
            // A file system that can't, or a disk that fails.
            Err(_) => None,
        })
    }
}

fn is_the_peers(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, NotConnected, TimedOut};
    matches!(
        error.kind(),
        BrokenPipe | ConnectionAborted | ConnectionReset | NotConnected | TimedOut
    )
}

impl AsyncRead for Outlet {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Outlet {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if !this.places.is_empty() {
            if let Some((from, len)) = this.places.find(bufs)
                && let Some(sent) = ready!(this.poll_send_file(cx, &from, len))
            {
                return Poll::Ready(sent);
            }
            // A head before a segment leaves in one packet with it.
            if let [head, rest @ ..] = bufs
                && this.places.find(rest).is_some()
            {
                let send =
                    || rustix::net::send(&this.stream, head, SendFlags::MORE | SendFlags::NOSIGNAL);
                return this.poll_call(cx, send);
            }
        }
        Pin::new(&mut this.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    /// What arrives when a head and `chunks` are written, of which a file
    /// holds the first `in_file` bytes after three others; and how many bytes
    /// came from the file.
    async fn arrives(chunks: &[Bytes], in_file: usize) -> (Vec<u8>, usize) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let connecting = TcpStream::connect(listener.local_addr().unwrap());
        let (peer, accepted) = tokio::join!(connecting, listener.accept());
        let (mut peer, (stream, _)) = (peer.unwrap(), accepted.unwrap());
        let whole = chunks.concat();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"xyz").unwrap();
        // Other bytes than in memory, so that the reader can tell them apart.
        let other: Vec<u8> = whole[..in_file].iter().map(|byte| byte ^ 0x80).collect();
        file.write_all(&other).unwrap();
        let body = HlsBody::Chunks {
            chunks: chunks.iter().cloned().collect(),
            file: Some(InFile { file: Arc::new(file), offset: 3 }),
        };
        let places = Places::default();
        places.note(&body);
        let mut outlet = Outlet::new(stream, places);
        let reading = tokio::spawn(async move {
            let mut got = Vec::new();
            peer.read_to_end(&mut got).await.unwrap();
            got
        });
        let head = b"head\r\n";
        let mut slices = vec![IoSlice::new(head)];
        slices.extend(chunks.iter().map(|chunk| IoSlice::new(chunk)));
        let mut rest = &mut slices[..];
        while !rest.is_empty() {
            let written = outlet.write_vectored(rest).await.unwrap();
            IoSlice::advance_slices(&mut rest, written);
        }
        outlet.shutdown().await.unwrap();
        let got = reading.await.unwrap();
        assert_eq!(&got[..head.len()], head);
        let from_file = got[head.len()..].iter().filter(|byte| **byte & 0x80 != 0).count();
        let plain = got[head.len()..].iter().map(|byte| byte & 0x7f).collect();
        (plain, from_file)
    }

    fn chunk(len: usize, seed: usize) -> Bytes {
        (0..len).map(|i| ((i * 7 + seed) % 127) as u8).collect()
    }

    #[tokio::test]
    async fn large_chunks_come_from_the_file() {
        let chunks = [chunk(400_000, 1), chunk(100, 2), chunk(900_000, 3)];
        let (got, from_file) = arrives(&chunks, 1_300_100).await;
        assert_eq!((got, from_file), (chunks.concat(), 1_300_100));
    }

    #[tokio::test]
    async fn small_ones_are_copied() {
        let chunks = [chunk(500, 1)];
        assert_eq!(arrives(&chunks, 500).await, (chunks.concat(), 0));
    }

    #[tokio::test]
    async fn a_file_that_was_cut_short_costs_nothing_but_copying() {
        let chunks = [chunk(400_000, 1), chunk(400_000, 2)];
        let (got, from_file) = arrives(&chunks, 300_000).await;
        assert_eq!((got, from_file), (chunks.concat(), 300_000));
    }
}
