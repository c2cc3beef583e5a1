//! What responses hold, and what their headers say.

use std::sync::atomic::Ordering;

use http::{HeaderValue, header};

use super::*;

#[tokio::test(start_paused = true)]
async fn media_is_the_parts_bytes_joined_once() {
    let (origin, mut fake) = live(1);
    let records = fake.segment(3);
    let parts: Vec<Bytes> = records
        .iter()
        .filter_map(|m| match &m.body {
            MediaBody::Part(part) if part.rendition == Rendition::Source => {
                Some(part.bytes.to_bytes())
            }
            _ => None,
        })
        .collect();
    origin.apply_all(records);
    let segment = get(&origin, fake.stream, "source/1.m4s").await;
    assert_eq!(segment.headers()[header::CONTENT_TYPE], "video/iso.segment");
    assert_eq!(segment.headers()[header::CACHE_CONTROL], "max-age=24, immutable");
    let HlsBody::Chunks { chunks, .. } = segment.into_body() else { panic!() };
    assert_eq!(chunks, parts);
    let part = get(&origin, fake.stream, "source/1.2.m4s").await.into_body().into_bytes();
    assert_eq!(part.as_ptr(), chunks[2].as_ptr(), "shared, not copied");
    let init = get(&origin, fake.stream, "360p/init-0.mp4").await;
    assert_eq!(init.headers()[header::CONTENT_TYPE], "video/mp4");
    assert_eq!(init.into_body().into_bytes(), "init 360p 0");
    let (track, key) = origin.latest_keyframe(fake.stream).unwrap();
    assert_eq!((&key[..], track), (&b"key 360p 1.0"[..], Fake::init(Rendition::Rung(360))));
}

#[tokio::test(start_paused = true)]
async fn iframe_playlists_name_ranges_that_hold_a_picture() {
    let (origin, fake) = live(4);
    let iframes = playlist(&origin, fake.stream, "source/iframes.m3u8").await;
    assert_eq!(iframes.entries.len(), 4);
    let range = iframes.entries[2].byterange.clone().unwrap();
    let bytes: u64 = range.strip_suffix("@0").unwrap().parse().unwrap();
    let mut headers = HeaderMap::new();
    headers
        .insert(header::RANGE, HeaderValue::from_str(&format!("bytes=0-{}", bytes - 1)).unwrap());
    let response = origin.respond(fake.stream, "source/2.m4s", None, &headers, &Method::GET).await;
    assert_eq!(response.status(), StatusCode::PARTIAL_CONTENT);
    let body = response.into_body().into_bytes();
    assert!(body.ends_with(b"key source 2.0") && &body[4..8] == b"moof");
    headers.insert(header::RANGE, HeaderValue::from_static("bytes=99999-"));
    let response = origin.respond(fake.stream, "source/2.m4s", None, &headers, &Method::GET).await;
    assert_eq!(response.status(), StatusCode::RANGE_NOT_SATISFIABLE);
    assert_eq!(get(&origin, fake.stream, "audio/iframes.m3u8").await.status(), 404);
}

#[tokio::test(start_paused = true)]
async fn every_response_has_cors_and_its_cache_lifetime() {
    let (origin, fake) = live(2);
    for (url, status, cache) in [
        ("index.m3u8", 200, "max-age=2"),
        ("source/index.m3u8", 200, "max-age=2"),
        ("source/index.m3u8?_HLS_msn=1", 200, "max-age=24"),
        ("source/index.m3u8?_HLS_part=1", 400, "max-age=16"),
        ("source/index.m3u8?_HLS_msn=99", 400, "max-age=16"),
        ("240p/index.m3u8", 404, "max-age=4"),
        ("source/99.m4s", 404, "max-age=4"),
        ("source/nonsense", 404, "max-age=4"),
        ("source/init-0.mp4", 200, "max-age=24, immutable"),
    ] {
        let response = get(&origin, fake.stream, url).await;
        assert_eq!(response.status(), status, "{url}");
        assert_eq!(response.headers()[header::CACHE_CONTROL], cache, "{url}");
        assert_eq!(response.headers()[header::ACCESS_CONTROL_ALLOW_ORIGIN], "*");
        assert!(response.headers().contains_key(header::ACCESS_CONTROL_EXPOSE_HEADERS));
        if status >= 400 {
            assert_eq!(response.headers()[header::CONTENT_TYPE], "application/problem+json");
        }
        let (path, query) = url.split_once('?').map_or((url, None), |(p, q)| (p, Some(q)));
        let none = HeaderMap::new();
        let head = origin.respond(fake.stream, path, query, &none, &Method::HEAD).await;
        assert!(head.body().is_empty());
        assert_eq!(
            head.headers()[header::CONTENT_LENGTH],
            response.headers()[header::CONTENT_LENGTH]
        );
    }
    let unknown = get(&origin, StreamId::generate(), "index.m3u8").await;
    assert_eq!(unknown.status(), StatusCode::NOT_FOUND);
    let none = HeaderMap::new();
    let put = origin.respond(fake.stream, "index.m3u8", None, &none, &Method::PUT).await;
    assert_eq!(put.status(), StatusCode::METHOD_NOT_ALLOWED);
}

#[tokio::test(start_paused = true)]
async fn gzip_is_the_same_text_and_made_once() {
    use std::io::Read;
    let (origin, fake) = live(8);
    let plain = text(&origin, fake.stream, "source/index.m3u8").await;
    let mut headers = HeaderMap::new();
    headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("gzip, br"));
    for _ in 0..3 {
        let response =
            origin.respond(fake.stream, "source/index.m3u8", None, &headers, &Method::GET).await;
        assert_eq!(response.headers()[header::CONTENT_ENCODING], "gzip");
        assert_eq!(response.headers()[header::VARY], "accept-encoding");
        let body = response.into_body().into_bytes();
        let mut text = String::new();
        flate2::read::GzDecoder::new(&body[..]).read_to_string(&mut text).unwrap();
        assert_eq!(text, plain);
    }
    assert_eq!(origin.metrics().gzips_total.load(Ordering::Relaxed), 1);
    assert_eq!(origin.metrics().renders_total.load(Ordering::Relaxed), 1);
}
