//! Any stream, in any interleaving of its two paths.

use proptest::prelude::*;

use super::*;

/// A stream as a list of frames, each path in its order.
#[derive(Clone, Debug)]
struct Script {
    direct: Vec<(u64, FrameBody)>,
    encoded: Vec<(u64, FrameBody)>,
}

fn script() -> impl Strategy<Value = Script> {
    let steps = prop::collection::vec(
        prop_oneof![
            8 => Just(PICTURE),
            1 => 1..PICTURE,
            2 => PICTURE..4 * PICTURE,
            1 => 4 * PICTURE..30 * PICTURE,
        ],
        1..150,
    );
    let settings = (1..40usize, 0..3i32, any::<u64>(), 0..3000i64, 0..4usize);
    (steps, settings).prop_map(|(steps, (gop, delay, holes, origin, runs))| {
        let mut script = Script { direct: Vec::new(), encoded: Vec::new() };
        let mut now = 0;
        let mut at = origin;
        let (mut msn, mut next_sound) = (5, 0i64);
        let length = steps.len() / (runs + 1) + 1;
        for (number, steps) in steps.chunks(length).enumerate() {
            now += 1;
            let number = number as u64;
            at += PICTURE;
            script.direct.push((now, FrameBody::Run(Box::new(run(number, at, &[360])))));
            let rung = FrameBody::RungStart { rendition: RUNG, run: number, init: video() };
            script.encoded.push((now, rung));
            next_sound = next_sound.max((at * 8 / 15 + 1023) / 1024 * 1024);
            for (i, step) in steps.iter().enumerate() {
                now += 1;
                if i % gop == 0 {
                    script.direct.push((now, cut(msn, at)));
                    msn += 1;
                }
                // Reordered a bit, but never to after the next keyframe.
                let late = if *step < PICTURE { 0 } else { (i % 3) as i32 - 1 };
                let cts = if i % gop == 0 { delay } else { delay + late };
                let cts = cts * (PICTURE as i32 / 8);
                let dts = at - i64::from(delay) * PICTURE / 8;
                script.direct.push((now, sample(SOURCE, dts, cts, i % gop == 0)));
                // The encoder drops what it can't do in time, but no keyframe.
                if i % gop == 0 || holes >> (i % 64) & 1 == 0 {
                    script.encoded.push((now, sample(RUNG, dts, cts, i % gop == 0)));
                }
                at += step;
                while next_sound < at * 8 / 15 {
                    if holes >> (next_sound / 1024 / 7 % 64) & 3 != 0 {
                        script.direct.push((now, sample(AUDIO, next_sound, 0, true)));
                    }
                    next_sound += 1024;
                }
            }
            now += 1;
            script.direct.push((now, FrameBody::Pause));
            script.encoded.push((now, FrameBody::RungDrained { rendition: RUNG, run: number }));
            if holes & 1 == 1 {
                script.direct.push((now, gap(msn, at)));
                msn += 1;
                at += 2 * PICTURE;
            }
        }
        script.direct.push((now, FrameBody::End));
        script
    })
}

/// Plays both paths; `lags[i]` says how far the encoded one is behind.
fn play(script: &Script, lags: &[u64], mut segmenter: Segmenter) -> Vec<Media> {
    let mut media = Vec::new();
    let mut encoded = script.encoded.iter().peekable();
    let stream = segmenter.stream;
    let frame = |(arrival_us, body): &(u64, FrameBody)| Frame {
        stream,
        offset: 0,
        arrival_us: *arrival_us,
        body: body.clone(),
    };
    for (i, direct) in script.direct.iter().enumerate() {
        let lag = lags[i % lags.len()];
        // Negative lags too: the encoded path read again before the direct one.
        while let Some(due) = encoded.next_if(|e| e.0 + lag < direct.0 + 20) {
            segmenter.push(frame(due), &mut media);
        }
        segmenter.push(frame(direct), &mut media);
        if i % 17 == 3 {
            segmenter = segmenter.clone();
        }
    }
    encoded.for_each(|late| segmenter.push(frame(late), &mut media));
    media
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn any_stream_gives_lawful_parts_of_exactly_its_samples(
        script in script(),
        lags in prop::collection::vec(20..60u64, 1..5),
    ) {
        let fresh = || Segmenter::new(stream(), Arc::default());
        let media = play(&script, &lags, fresh());
        let tracks = checked(&media);
        prop_assert!(matches!(media.last().unwrap().body, MediaBody::End));
        for (rendition, track) in &tracks {
            let given: Vec<(i64, Bytes)> = script
                .direct
                .iter()
                .chain(&script.encoded)
                .filter_map(|(_, body)| match body {
                    FrameBody::Sample(s) if s.rendition == *rendition => {
                        Some((s.dts + i64::from(s.cts), s.data.clone()))
                    }
                    _ => None,
                })
                .collect();
            let got: Vec<(i64, Bytes)> =
                track.samples().into_iter().map(|(_, pts, data)| (pts, data)).collect();
            prop_assert_eq!(&got, &given, "{}", rendition);
            // A gap at the very end is never ended, so it may be missing.
            let cuts = script.direct.iter().filter_map(|(_, body)| match body {
                FrameBody::Cut(cut) => Some(cut.msn),
                _ => None,
            });
            let cuts: Vec<u64> = cuts.collect();
            let msns = track.msns();
            prop_assert!(cuts.starts_with(&msns) && cuts.len() - msns.len() <= 1);
        }
    }

    #[test]
    fn parts_do_not_depend_on_how_the_paths_interleave(
        script in script(),
        lags in prop::collection::vec(0..60u64, 1..5),
    ) {
        let fresh = || Segmenter::new(stream(), Arc::default());
        let one = checked(&play(&script, &[20], fresh()));
        let two = checked(&play(&script, &lags, fresh()));
        for (rendition, track) in &one {
            let other = &two[rendition];
            let bytes = |t: &Track| t.parts.iter().map(|p| p.bytes.clone()).collect::<Vec<_>>();
            prop_assert_eq!(bytes(track), bytes(other), "{}", rendition);
            prop_assert_eq!(track.msns(), other.msns());
            prop_assert_eq!(track.gaps(), other.gaps());
        }
    }
}
