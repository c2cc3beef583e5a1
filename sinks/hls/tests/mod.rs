//! The origin as its clients see it. Here: an origin with a made-up stream, and
//! storage in a map.

mod blocking;
mod history;
mod playlists;
mod responses;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{HeaderMap, Method, Response, StatusCode};
use records::{Media, MediaBody, Pieces, Rendition, StreamId};

use super::checker::Playlist;
use super::fake::Fake;
use super::*;

const LADDER: [Rendition; 3] = [Rendition::Audio, Rendition::Source, Rendition::Rung(360)];

pub(super) fn origin() -> Origin {
    Origin::new(HlsConfig::default(), Arc::new(NoCold))
}

pub(super) async fn get(origin: &Origin, stream: StreamId, url: &str) -> Response<HlsBody> {
    let (path, query) = url.split_once('?').map_or((url, None), |(p, q)| (p, Some(q)));
    origin.respond(stream, path, query, &HeaderMap::new(), &Method::GET).await
}

pub(super) async fn text(origin: &Origin, stream: StreamId, url: &str) -> String {
    let response = get(origin, stream, url).await;
    assert_eq!(response.status(), StatusCode::OK, "{url}: {:?}", response.body());
    String::from_utf8(response.into_body().into_bytes().to_vec()).unwrap()
}

pub(super) async fn playlist(origin: &Origin, stream: StreamId, url: &str) -> Playlist {
    Playlist::parse(&text(origin, stream, url).await)
}

/// An origin with a stream of `segments` complete segments of 2 s.
pub(super) fn live(segments: usize) -> (Origin, Fake) {
    let (origin, mut fake) = (origin(), Fake::new(&LADDER));
    origin.open(fake.stream, None);
    origin.apply_all(fake.tracks());
    for _ in 0..segments {
        origin.apply_all(fake.segment(10));
    }
    (origin, fake)
}

/// Storage in a map.
#[derive(Default)]
pub(super) struct MapCold(Mutex<HashMap<Object, Bytes>>);

impl MapCold {
    pub(super) fn store(&self, records: &[Media]) {
        for media in records {
            let stream = media.stream;
            let mut map = self.0.lock().unwrap();
            match &media.body {
                MediaBody::Segment(s) if !s.gap => {
                    let object = Object::Segment { stream, rendition: s.rendition, msn: s.msn };
                    map.insert(
                        object,
                        s.chunks.iter().flat_map(Pieces::iter).flatten().copied().collect(),
                    );
                }
                MediaBody::Track(t) => {
                    let object = Object::Init { stream, rendition: t.rendition, run: t.run };
                    map.insert(object, t.header.clone());
                }
                _ => {}
            }
        }
    }
}

impl Cold for MapCold {
    fn holds(&self, object: Object) -> bool {
        self.0.lock().unwrap().contains_key(&object)
    }

    fn read(&self, object: Object) -> ColdRead<'_> {
        let found = self.0.lock().unwrap().get(&object).cloned();
        Box::pin(async move { found.ok_or(ColdError::Missing) })
    }
}
