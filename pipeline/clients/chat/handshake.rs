//! How a viewer asks to be let in.
//!
//! Enters: options. Leaves: each viewer's request. Held: the text that all have in common.

use crate::options::Options;

/// Requests of a run.
#[derive(Clone, Debug)]
pub struct Requests {
    /// The run's own number, so that no two processes' viewers are called the same.
    run: u64,
    first: String,
    back: Option<String>,
}

impl Requests {
    /// Those that `options` describe.
    pub fn new(run: u64, options: &Options) -> Self {
        let request = |path: &String| request(options, path);
        Self { run, first: request(&options.path), back: options.path_back.as_ref().map(request) }
    }

    /// The request of viewer `number`, who comes for the first time.
    pub fn first(&self, number: usize) -> Vec<u8> {
        self.named(&self.first, number).into_bytes()
    }

    /// The request of viewer `number`, who has what `epoch` and `seq` say.
    pub fn back(&self, number: usize, epoch: &str, seq: u64) -> Vec<u8> {
        let request = self.named(self.back.as_ref().unwrap_or(&self.first), number);
        request.replace("{epoch}", epoch).replace("{seq}", &seq.to_string()).into_bytes()
    }

    fn named(&self, request: &str, number: usize) -> String {
        request.replace("{viewer}", &number.to_string()).replace("{uuid}", &uuid(self.run, number))
    }
}

fn request(options: &Options, path: &str) -> String {
    let mut request = format!(
        "GET {} HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: bWlsbHN0cmVhbSBsb2FkIQ==\r\n",
        path, options.host
    );
    for header in &options.headers {
        request.push_str(header);
        request.push_str("\r\n");
    }
    request.push_str("\r\n");
    request
}

/// A UUID of our own making (RFC 9562, 5.8): the run in the first 48 bits, the viewer in the
/// last.
fn uuid(run: u64, number: usize) -> String {
    let (high, low) = ((run >> 16) & 0xffff_ffff, run & 0xffff);
    let number = number as u64 & 0xffff_ffff_ffff;
    format!("{high:08x}-{low:04x}-8000-8000-{number:012x}")
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;

    #[test]
    fn each_viewer_asks_for_itself() {
        let address: SocketAddr = "127.0.0.1:80".parse().unwrap();
        let requests = Requests::new(
            0x1_2345_6789,
            &Options {
                host: "example.com".into(),
                path: "/room?viewer={uuid}&n={viewer}".into(),
                path_back: Some("/room?viewer={uuid}&epoch={epoch}&seq={seq}".into()),
                headers: vec!["X-From: load".into()],
                ..Options::new(address)
            },
        );
        let first = String::from_utf8(requests.first(255)).unwrap();
        let uuid = "00012345-6789-8000-8000-0000000000ff";
        assert!(first.starts_with(&format!("GET /room?viewer={uuid}&n=255 HTTP/1.1\r\n")));
        assert!(first.contains("\r\nHost: example.com\r\n"), "{first}");
        assert!(first.ends_with("\r\nX-From: load\r\n\r\n"), "{first}");
        let back = String::from_utf8(requests.back(255, "7", 12)).unwrap();
        assert!(
            back.starts_with(&format!("GET /room?viewer={uuid}&epoch=7&seq=12 HTTP")),
            "{back}"
        );
    }
}
