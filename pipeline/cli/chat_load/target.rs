//! Which room of which server.
//!
//! Enters: a URL. Leaves: an address and a path. Held: nothing. Never here: TLS, which is
//! not what a chat is measured for.

use std::net::SocketAddr;

use anyhow::{Context, bail, ensure};
use http::uri::PathAndQuery;
use http::{Method, Uri};
use records::StreamId;
use serde::Deserialize;

use crate::cli::client;

/// Where viewers go.
#[derive(Debug)]
pub struct Target {
    /// Of the server.
    pub address: SocketAddr,
    /// What requests call it, with its port.
    pub host: String,
    /// Which room of it.
    pub room: Room,
}

/// Whose room it is.
#[derive(Debug, PartialEq, Eq)]
pub enum Room {
    /// Millstream's, of this stream.
    Ours(StreamId),
    /// Another server's, at this path.
    Others(String),
}

/// `GET /api/streams`.
#[derive(Deserialize)]
struct Live {
    streams: Vec<Stream>,
}

#[derive(Deserialize)]
struct Stream {
    stream_id: StreamId,
    title: String,
}

impl Target {
    /// What `url` names; a server alone is asked what is live.
    pub async fn find(url: &str) -> anyhow::Result<Self> {
        let (uri, room) = read(url)?;
        let authority = uri.authority().with_context(|| format!("{url} names no server"))?;
        // Brackets around IPv6 belong to the URL.
        let name = authority.host().trim_matches(['[', ']']);
        let port = authority.port_u16().unwrap_or(80);
        let found = tokio::net::lookup_host((name, port)).await;
        let found: Vec<_> = found.with_context(|| format!("cannot find {name}"))?.collect();
        // Viewers on this machine are spread over IPv4's many addresses of it.
        let address = found.iter().find(|address| address.is_ipv4()).or(found.first());
        let address = *address.with_context(|| format!("{name} has no address"))?;
        let host = format!("{}:{port}", authority.host());
        let room = match room {
            Some(room) => room,
            None => Room::Ours(live(&format!("http://{host}")).await?),
        };
        Ok(Self { address, host, room })
    }

    /// What the server's API is below.
    pub fn base(&self) -> String {
        format!("http://{}", self.host)
    }
}

/// The URL, and the room that it names; None: the server is to be asked.
fn read(url: &str) -> anyhow::Result<(Uri, Option<Room>)> {
    let uri: Uri = url.parse().with_context(|| format!("{url} is no URL"))?;
    let room = match uri.scheme_str() {
        Some("ws") => {
            let path = uri.path_and_query().map_or("/", PathAndQuery::as_str);
            Some(Room::Others(path.to_owned()))
        }
        Some("http") => {
            let stream = uri.path().split('/').find_map(|part| part.parse::<StreamId>().ok());
            ensure!(
                stream.is_some() || uri.path().len() <= 1,
                "{url} has no stream's id in its path; give a stream's page, or the server alone"
            );
            stream.map(Room::Ours)
        }
        Some(secure @ ("https" | "wss")) => {
            bail!(
                "{secure} isn't spoken here, where TLS would be measured; give the server's \
                 address for http (http.listen) instead of {url}"
            )
        }
        _ => bail!("{url} is neither http://HOST:PORT nor ws://HOST:PORT/PATH"),
    };
    Ok((uri, room))
}

/// The only stream that is live.
async fn live(base: &str) -> anyhow::Result<StreamId> {
    let url = format!("{base}/api/streams");
    let Live { streams } = client::call(Method::GET, &url, None).await?;
    match &streams[..] {
        [one] => Ok(one.stream_id),
        [] => {
            bail!("nothing is live at {base}; a stream that isn't has its address, {base}/watch/ID")
        }
        several => {
            let mut list = String::new();
            for Stream { stream_id, title } in several {
                list.push_str(&format!("\n  {base}/watch/{stream_id}  {title}"));
            }
            bail!("several streams are live; give the address of one of them:{list}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0190a5f0-7c3e-7a11-9d4b-000000000001";

    #[test]
    fn urls_name_rooms() {
        let ours = || Some(Room::Ours(ID.parse().unwrap()));
        let others = |path: &str| Some(Room::Others(path.to_owned()));
        for (url, room) in [
            ("http://127.0.0.1:8080".to_owned(), None),
            ("http://127.0.0.1:8080/".to_owned(), None),
            (format!("http://[::1]:8080/watch/{ID}?at=5"), ours()),
            (format!("http://localhost/api/streams/{ID}/chat"), ours()),
            ("ws://127.0.0.1:9/room?id=1".to_owned(), others("/room?id=1")),
            ("ws://127.0.0.1:9".to_owned(), others("/")),
        ] {
            assert_eq!(read(&url).unwrap().1, room, "{url}");
        }
    }

    #[test]
    fn others_are_refused_with_what_to_do() {
        for (url, word) in [
            ("https://example.com", "http.listen"),
            ("wss://example.com/x", "http.listen"),
            ("http://example.com/videos", "no stream's id"),
            ("127.0.0.1:8080", "neither"),
            ("rtmp://127.0.0.1/live", "neither"),
            ("http://", "no URL"),
        ] {
            let error = read(url).unwrap_err().to_string();
            assert!(error.contains(word), "{url}: {error}");
        }
    }

    #[tokio::test]
    async fn addresses_of_this_machine_are_found() {
        let target = Target::find(&format!("http://localhost:81/watch/{ID}")).await.unwrap();
        assert!(target.address.ip().is_loopback() && target.address.port() == 81);
        assert_eq!(target.base(), "http://localhost:81");
        let target = Target::find("ws://[::1]/x").await.unwrap();
        assert_eq!((target.address.port(), target.host.as_str()), (80, "[::1]:80"));
    }
}
