//! The handshake: C0 C1 → S0 S1 S2 → C2, simple or with digests (R 5.2).
//!
//! Enters: a fresh socket. Leaves: the socket at its first chunk, with what
//! was read beyond the handshake. Ends with an error at the first byte that
//! can't be RTMP. The caller bounds the time; memory is bounded here.

use std::io::{self, Cursor};

use bytes::{Buf, BytesMut};
use scuffle_rtmp::handshake::{HandshakeServer, RTMP_HANDSHAKE_SIZE};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// C0: the only version that is spoken (R 5.2.2). 6 would be RTMPE.
const VERSION: u8 = 3;

/// The peer didn't manage the handshake. Its fault; it may retry.
#[derive(Debug, thiserror::Error)]
pub enum HandshakeError {
    /// The first byte isn't RTMP's version; says what it looks like.
    #[error("not RTMP: {looks_like}")]
    NotRtmp {
        /// A guess, to help whoever reads the log.
        looks_like: &'static str,
    },
    /// Not done in time.
    #[error("not done in time")]
    Slow,
    /// TLS failed.
    #[error("TLS: {0}")]
    Tls(io::Error),
    /// The socket failed or closed first.
    #[error("{0}")]
    Io(#[from] io::Error),
}

impl HandshakeError {
    /// A short name for metrics.
    #[must_use]
    pub fn label(&self) -> &'static str {
        match self {
            Self::NotRtmp { .. } => "handshake_garbage",
            Self::Slow => "handshake_slow",
            Self::Tls(_) => "handshake_tls",
            Self::Io(_) => "io",
        }
    }
}

/// Shakes hands as the server; gives the bytes already read beyond C2.
///
/// # Errors
/// A [`HandshakeError`]; never [`HandshakeError::Slow`], which is the caller's to tell.
pub async fn accept(
    io: &mut (impl AsyncRead + AsyncWrite + Unpin),
) -> Result<BytesMut, HandshakeError> {
    let mut input = BytesMut::with_capacity(4096);
    let mut server = HandshakeServer::default();
    let mut reply = Vec::with_capacity(1 + 2 * RTMP_HANDSHAKE_SIZE);

    fill(io, &mut input, 1).await?;
    if input[0] != VERSION {
        return Err(HandshakeError::NotRtmp { looks_like: looks_like(input[0]) });
    }
    fill(io, &mut input, 1 + RTMP_HANDSHAKE_SIZE).await?;
    let hello = input.split_to(1 + RTMP_HANDSHAKE_SIZE).freeze();
    server.handshake(&mut Cursor::new(hello.clone()), &mut reply).map_err(io::Error::other)?;
    if let (HandshakeServer::Simple(_), Some(s2)) =
        (&server, reply.get_mut(1 + RTMP_HANDSHAKE_SIZE..1 + 2 * RTMP_HANDSHAKE_SIZE))
    {
        // The time at which C1 was read belongs in S2 (R 5.2.4), but librtmp,
        // so OBS too, warns unless S2 is C1 byte for byte.
        s2.copy_from_slice(&hello[1..]);
    }
    io.write_all(&reply).await?;
    io.flush().await?;

    // C2 is not checked: many clients send something else than S1's echo.
    fill(io, &mut input, RTMP_HANDSHAKE_SIZE).await?;
    input.advance(RTMP_HANDSHAKE_SIZE);
    Ok(input)
}

async fn fill(
    io: &mut (impl AsyncRead + Unpin),
    input: &mut BytesMut,
    length: usize,
) -> io::Result<()> {
    while input.len() < length {
        input.reserve(length - input.len());
        if io.read_buf(input).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(())
}

fn looks_like(first: u8) -> &'static str {
    match first {
        0x16 => "TLS on the plain port",
        6 => "RTMPE, which is not offered",
        b'A'..=b'Z' => "text, perhaps HTTP",
        _ => "an unknown protocol",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn attempt(hello: &[u8]) -> Result<BytesMut, HandshakeError> {
        let (mut client, mut server) = tokio::io::duplex(64 << 10);
        client.write_all(hello).await.unwrap();
        client.shutdown().await.unwrap();
        accept(&mut server).await
    }

    #[tokio::test]
    async fn keeps_what_comes_after() {
        for version in [[0; 4], [9, 0, 0x7c, 2]] {
            let mut hello = vec![VERSION, 0, 0, 0, 0];
            hello.extend(version);
            hello.resize(1 + 2 * RTMP_HANDSHAKE_SIZE, 7);
            hello.extend(b"more");
            assert_eq!(attempt(&hello).await.unwrap(), &b"more"[..]);
        }
    }

    #[tokio::test]
    async fn the_simple_reply_echoes_the_clients_bytes() {
        let (mut client, mut server) = tokio::io::duplex(64 << 10);
        let mut hello = vec![VERSION];
        hello.extend((0..2 * RTMP_HANDSHAKE_SIZE).map(|i| (i % 251) as u8));
        client.write_all(&hello).await.unwrap();
        accept(&mut server).await.unwrap();
        let mut reply = vec![0; 1 + 2 * RTMP_HANDSHAKE_SIZE];
        client.read_exact(&mut reply).await.unwrap();
        assert_eq!(reply[0], VERSION);
        assert_eq!(reply[1 + RTMP_HANDSHAKE_SIZE..], hello[1..=RTMP_HANDSHAKE_SIZE]);
    }

    #[tokio::test]
    async fn garbage_is_named_at_its_first_byte() {
        for (hello, label) in [
            (&b"GET / HTTP/1.1\r\n"[..], "handshake_garbage"),
            (&[0x16, 3, 1], "handshake_garbage"),
            (&[VERSION, 1, 2], "io"),
        ] {
            assert_eq!(attempt(hello).await.unwrap_err().label(), label);
        }
    }
}
