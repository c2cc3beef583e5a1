//! A library over files that are kept in memory.

use std::collections::HashMap;

use super::recording::tests::recording;
use super::*;
use crate::hls::ColdRead;

#[derive(Default)]
struct Files {
    files: HashMap<Object, Bytes>,
    reads: Mutex<Vec<Object>>,
}

impl Cold for Files {
    fn holds(&self, object: Object) -> bool {
        self.files.contains_key(&object)
    }

    fn read(&self, object: Object) -> ColdRead<'_> {
        self.reads.lock().push(object);
        let found = self.files.get(&object).cloned().ok_or(ColdError::Missing);
        Box::pin(async { found })
    }
}

fn library() -> (Library, Arc<Files>, StreamId) {
    let stream = StreamId::generate();
    let mut files = HashMap::new();
    let text = serde_json::to_vec(&recording()).unwrap();
    files.insert(Object::Recording { stream }, Bytes::from(text));
    for msn in [0, 1, 2, 3, 34, 35] {
        let object = Object::Segment { stream, rendition: Rendition::Source, msn };
        files.insert(object, Bytes::from(format!("source {msn}")));
    }
    let init = Object::Init { stream, rendition: Rendition::Source, run: 1 };
    files.insert(init, Bytes::from_static(b"init"));
    let files = Arc::new(Files { files, ..Files::default() });
    (Library::new(Arc::clone(&files) as _), files, stream)
}

async fn get(library: &Library, wanted: Wanted, path: &str) -> (u16, String, String) {
    let none = HeaderMap::new();
    let response = library.respond(wanted, path, &none, &Method::GET, true).await;
    let status = response.status().as_u16();
    let cache = response.headers()[header::CACHE_CONTROL].to_str().unwrap().to_owned();
    let body = response.into_body().into_bytes();
    (status, cache, String::from_utf8(body.to_vec()).unwrap())
}

#[tokio::test]
async fn a_recording_is_played_from_its_files() {
    let (library, files, stream) = library();
    let whole = Wanted { stream, piece_us: None };
    for (path, status, cache) in [
        ("index.m3u8", 200, "public, max-age=60"),
        ("source/index.m3u8", 200, "public, max-age=31536000, immutable"),
        ("source/iframes.m3u8", 200, "public, max-age=31536000, immutable"),
        ("source/34.m4s", 200, "public, max-age=31536000, immutable"),
        ("storyboard.vtt", 200, "public, max-age=31536000, immutable"),
        ("source/init-1.mp4", 200, "public, max-age=31536000, immutable"),
        ("audio/37.m4s", 404, "no-store"),
        ("audio/iframes.m3u8", 404, "no-store"),
        ("source/4.m4s", 404, "no-store"),
        ("source/0.0.m4s", 404, "no-store"),
        ("720p/index.m3u8", 404, "no-store"),
        ("nonsense", 404, "no-store"),
    ] {
        let (found, lifetime, _) = get(&library, whole, path).await;
        assert_eq!((found, &*lifetime), (status, cache), "{path}");
    }
    let (_, _, text) = get(&library, whole, "source/34.m4s").await;
    assert_eq!(text, "source 34");
    let descriptions =
        files.reads.lock().iter().filter(|o| matches!(o, Object::Recording { .. })).count();
    assert_eq!(descriptions, 1, "read once for all requests");
}

#[tokio::test]
async fn a_clip_has_its_own_segments_only() {
    let (library, _, stream) = library();
    let clip = Wanted { stream, piece_us: Some((3_200_000, 4_500_000)) };
    assert_eq!(get(&library, clip, "source/3.m4s").await.0, 200);
    assert_eq!(get(&library, clip, "source/0.m4s").await.0, 404);
    let (_, _, text) = get(&library, clip, "index.m3u8").await;
    assert!(text.contains("#EXT-X-START:TIME-OFFSET=0.2,PRECISE=YES"), "{text}");
    let outside = Wanted { stream, piece_us: Some((99_000_000, 100_000_000)) };
    assert_eq!(get(&library, outside, "index.m3u8").await.0, 404);
    let unknown = Wanted { stream: StreamId::generate(), piece_us: None };
    assert_eq!(get(&library, unknown, "index.m3u8").await.0, 404);
    library.forget(stream);
    assert_eq!(library.shelf.lock().segments, 0);
    assert!(library.shelf.lock().titles.is_empty());
}

#[tokio::test]
async fn a_storyboard_is_listed_and_what_is_not_stored_is_left_out_of_its_sheets() {
    let (library, _, stream) = library();
    let whole = Wanted { stream, piece_us: None };
    let (_, _, list) = get(&library, whole, "storyboard.vtt").await;
    assert_eq!(list.matches("storyboard-0.jpg#xywh=").count(), 5, "{list}");
    // These files can't be opened: the sheet is there, and nothing is on it.
    let sheet = library.sheet(whole, 0).await.unwrap().unwrap();
    assert_eq!((sheet.columns, sheet.tiles, sheet.pictures.len()), (5, 5, 0));
    assert!(library.sheet(whole, 1).await.unwrap().is_none());
}

#[tokio::test]
async fn what_a_private_video_sends_stays_out_of_shared_caches() {
    let (library, _, stream) = library();
    let whole = Wanted { stream, piece_us: None };
    let none = HeaderMap::new();
    let response = library.respond(whole, "source/1.m4s", &none, &Method::GET, false).await;
    assert_eq!(response.headers()[header::CACHE_CONTROL], "private, max-age=31536000, immutable");
    let put = library.respond(whole, "index.m3u8", &none, &Method::PUT, true).await;
    assert_eq!(put.status(), StatusCode::METHOD_NOT_ALLOWED);
    let head = library.respond(whole, "source/1.m4s", &none, &Method::HEAD, true).await;
    assert!(head.body().is_empty());
    assert_eq!(head.headers()[header::CONTENT_LENGTH], "8");
}

#[tokio::test]
async fn what_is_left_out_is_neither_listed_nor_played() {
    let (library, _, stream) = library();
    let whole = Wanted { stream, piece_us: None };
    let piece = Wanted { stream, piece_us: Some((0, 2_000_000)) };
    for wanted in [whole, piece] {
        assert!(get(&library, wanted, "index.m3u8").await.2.contains("source/index.m3u8"));
    }
    library.leave_out(stream, &[Rendition::Source]);
    for wanted in [whole, piece] {
        let (status, _, text) = get(&library, wanted, "index.m3u8").await;
        assert!(status == 200 && !text.contains("source"), "{text}");
        for path in ["source/index.m3u8", "source/0.m4s", "source/init-1.mp4"] {
            let (status, cache, _) = get(&library, wanted, path).await;
            assert_eq!((status, &*cache), (404, "no-store"), "{path}");
        }
        assert_eq!(get(&library, wanted, "audio/index.m3u8").await.0, 200);
    }
    library.leave_out(stream, &[]);
    assert_eq!(get(&library, whole, "source/0.m4s").await.0, 200);
    // None of the sound is stored here.
    assert_eq!(library.look(stream).await.unwrap(), 1);
    assert_eq!(get(&library, whole, "audio/index.m3u8").await.0, 404);
}
