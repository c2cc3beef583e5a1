//! What operators rely on: the example is complete and true, mistakes are all
//! named at once with their place, and later sources win.

use std::collections::HashSet;

use proptest::prelude::*;

use super::table::{KEYS, SECTIONS};
use super::*;

fn problems(file: &str) -> Vec<String> {
    match Config::parse(Some(("m.toml", file)), &[], &[]) {
        Ok(_) => Vec::new(),
        Err(error) => error.to_string().lines().map(str::to_owned).collect(),
    }
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect()
}

#[test]
fn example_is_the_table() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/pipeline/config.example.toml");
    if std::env::var_os("UPDATE_EXAMPLE").is_some() {
        std::fs::write(path, example()).unwrap();
    }
    let on_disk = std::fs::read_to_string(path).unwrap();
    assert_eq!(on_disk, example(), "run UPDATE_EXAMPLE=1 cargo test example_is_the_table");
    let parsed = Config::parse(Some((path, &on_disk)), &[], &[]).unwrap();
    assert_eq!(parsed, Config::default());
}

#[test]
fn every_key_is_in_the_example_once_and_explained() {
    let document = toml_edit::Document::parse(example()).unwrap();
    for key in KEYS {
        let mut item = document.as_item();
        for part in key.name.split('.') {
            item = item.get(part).unwrap_or_else(|| panic!("{} is missing", key.name));
        }
        assert!(key.doc.len() > 30 && key.doc.ends_with('.'), "{} needs a why", key.name);
        let (section, _) = key.name.rsplit_once('.').unwrap();
        assert!(SECTIONS.iter().any(|(name, _)| *name == section), "{section}");
    }
}

#[test]
fn every_key_has_a_variable_of_its_own() {
    let variables: HashSet<_> = KEYS.iter().map(|key| variable(key.name)).collect();
    assert_eq!(variables.len(), KEYS.len());
    assert!(variables.contains("MILLSTREAM_HTTP_TLS_LISTEN"));
    assert!(variables.contains("MILLSTREAM_STREAM_RECONNECT_WINDOW"));
}

/// Setting a key to something else changes the configuration: none is forgotten in `build`.
#[test]
fn every_key_has_an_effect() {
    use super::kind::Kind;
    for key in KEYS {
        let other = match key.kind {
            Kind::Bool if key.default == "true" => "false".into(),
            Kind::Bool => "true".into(),
            Kind::Text => "other".into(),
            Kind::Secret => "a token that is long enough".into(),
            Kind::Address | Kind::OptionalAddress => "127.0.0.1:4711".into(),
            Kind::OptionalUrl(schemes) => format!("{}://example.org", schemes[0]),
            Kind::Choice(words) => words[words.len() - 1].into(),
            Kind::Integer(min, max) => {
                if key.default == max.to_string() { min } else { max }.to_string()
            }
            Kind::Number(_, max) => max.to_string(),
            Kind::Duration(_, max) => super::kind::show_duration(max),
            Kind::Size(_, max) if key.name == "rtmp.chunk_bytes_max" => {
                super::kind::show_size(max / 2)
            }
            Kind::Size(_, max) => super::kind::show_size(max),
            Kind::Ladder => "720:3000".into(),
            Kind::Properties => "security.protocol=ssl".into(),
        };
        // With what the relations ask for beside it.
        let mut flags = pairs(&[
            ("rtmp.unfinished_bytes_max", "1GiB"),
            ("transcode.lag_shed", "60s"),
            ("hls.segment_max", "60s"),
            ("hls.segment_target", "30s"),
            ("lake.commit_idle", "1h"),
            ("lake.root", "s3://bucket/lake"),
            ("http.tls.listen", "127.0.0.1:1"),
            ("http.tls.cert", "cert"),
            ("http.tls.key", "key"),
            ("rtmp.tls.listen", "127.0.0.1:2"),
            ("rtmp.tls.cert", "cert"),
            ("rtmp.tls.key", "key"),
        ]);
        let lesser = match key.name {
            "rtmp.unfinished_bytes_max" => "512MiB",
            "transcode.lag_shed" => "59s",
            "hls.segment_max" => "59s",
            "hls.segment_target" => "29s",
            "lake.commit_idle" => "30m",
            "transcode.lag_restore" => "500ms",
            "data.log" => "kafka://127.0.0.1:9092/test",
            "archive.store" => "file:///srv/archive",
            "lake.options" => "region=x",
            "accounts.providers" => "https://id.example.org=us https://id.example.org/jwks",
            "archive.cold" => "file:///srv/cold",
            "vod.thin_to" => "720p",
            _ => &other,
        };
        let before = Config::parse(None, &[], &flags).unwrap();
        flags.push((key.name.into(), lesser.into()));
        let after =
            Config::parse(None, &[], &flags).unwrap_or_else(|e| panic!("{}: {e}", key.name));
        assert_ne!(before, after, "{} has no effect", key.name);
    }
}

#[test]
fn a_store_is_named_by_url_and_options() {
    let file = r#"
[archive]
store = "s3://bucket/live"
spool = "100GiB"
[archive.store_options]
endpoint = "http://127.0.0.1:9000"
allow_http = true
access_key_id = "k"
secret_access_key = "hunter2"
"#;
    let config = Config::parse(Some(("m.toml", file)), &[], &[]).unwrap();
    assert_eq!(config.archive.store.as_deref(), Some("s3://bucket/live"));
    assert_eq!(config.archive.options["allow_http"], "true");
    assert!(!format!("{config:?}").contains("hunter2"));
    for (store, options, says) in [
        ("ftp://host/x", "{}", "archive.store: ftp://host/x is not an object store"),
        ("s3://b", "{ regoin = \"x\" }", "archive.store_options: s3 stores have no option regoin"),
        ("s3://b", "{ allow_http = \"maybe\" }", "archive.store_options: "),
        ("s3://k:hunter2@b", "{}", "the URL holds a password"),
    ] {
        let file = format!("[archive]\nstore = \"{store}\"\nstore_options = {options}\n");
        let said = problems(&file).join("\n");
        assert!(said.contains(says) && !said.contains("hunter2"), "{said}");
    }
}

#[test]
fn the_lake_is_in_a_folder_or_in_a_store() {
    let parse = |lake: &str| Config::parse(Some(("m.toml", &format!("[lake]\n{lake}"))), &[], &[]);
    let keys = "access_key_id = \"k\", secret_access_key = \"hunter2\"";
    let config = parse(&format!("root = \"s3://bucket/lake\"\noptions = {{ {keys} }}")).unwrap();
    assert_eq!(config.lake.root.as_deref(), Some("s3://bucket/lake"));
    assert!(!format!("{config:?}").contains("hunter2"));
    assert!(parse("root = \"file:///srv/lake\"").is_ok() && parse("root = \"lake\"").is_ok());
    for (lake, says) in [
        ("root = \"ftp://host/x\"", "lake.root: ftp://host/x is not an object store"),
        ("root = \"s3://k:hunter2@b\"", "lake.root: the URL holds a password"),
        ("root = \"s3://b\"\noptions = { regoin = \"x\" }", "lake.options: s3 stores have no"),
        ("options = { secret_access_key = \"hunter2\" }", "lake.options: file stores have no"),
    ] {
        let said = parse(lake).unwrap_err().to_string();
        assert!(said.contains(says) && !said.contains("hunter2"), "{said}");
    }
}

#[test]
fn a_kafka_log_is_named_by_url_and_properties() {
    let file = r#"
[data]
log = "kafka://a:9092,b:9092/live"
log_retention = "30d"
[data.log_options]
security.protocol = "sasl_ssl"
"sasl.password" = "hunter2"
socket.keepalive.enable = true
"#;
    let config = Config::parse(Some(("m.toml", file)), &[], &[]).unwrap();
    let log = &config.data_log;
    assert_eq!(log.kafka.as_deref(), Some("kafka://a:9092,b:9092/live"));
    assert_eq!(log.options.properties["security.protocol"], "sasl_ssl");
    assert_eq!(log.options.properties["socket.keepalive.enable"], "true");
    assert_eq!(log.options.retention, Some(std::time::Duration::from_hours(30 * 24)));
    assert!(!format!("{config:?}").contains("hunter2"));
    for (file, word) in [
        ("[data]\nlog = \"kafak://a:1/x\"", "m.toml:2:1: data.log: "),
        ("[data]\nlog = \"kafka://a:1/x\"\nlog_options = { acks = 0 }", "data.log_options: "),
        ("[data]\nlog_options = { a = [\"hunter2\"] }", "must be a table of names and texts"),
    ] {
        let found = problems(file).join("\n");
        assert!(found.contains(word) && !found.contains("hunter2"), "{found}");
    }
}

#[test]
fn all_mistakes_are_named_with_their_place() {
    let file = r#"
[http]
lisen = "0.0.0.0:80"

[pipeline]
workers = 65
[rtmp]
  idle_timeout = "5 minutes"
  budget_bytes = 4
[htpp]
x = 1
[hls]
part_target = "2s"
"#;
    assert_eq!(
        problems(file),
        [
            "m.toml:3:1: unknown key http.lisen; did you mean http.listen?",
            "m.toml:6:1: pipeline.workers: 65 is not a whole number from 1 to 64",
            "m.toml:8:3: rtmp.idle_timeout: \"5 minutes\" is not a duration with its unit \
             (ms, s, m, h, d) from 1s to 10m",
            "m.toml:9:3: rtmp.budget_bytes: 4 is not a size with its unit (B, KiB, MiB, GiB) \
             from 64KiB to 1GiB",
            "m.toml:10:2: unknown section htpp; did you mean http?",
            "m.toml:13:1: hls.part_target (2s) must be less than hls.segment_target (2s): \
             a segment is made of parts",
        ]
    );
}

#[test]
fn a_key_in_the_wrong_section_is_found() {
    assert_eq!(
        problems("workers = 2\nhttp = 3"),
        [
            "m.toml:1:1: unknown key workers; did you mean pipeline.workers?",
            "m.toml:2:1: http is a section: write [http]",
        ]
    );
    assert_eq!(
        problems("[hls]\nquantum = 2"),
        ["m.toml:2:1: unknown key hls.quantum; config.example.toml lists them all"]
    );
}

#[test]
fn broken_toml_has_a_place_too() {
    let found = problems("[http]\nlisten = 0.0.0.0:80\n");
    assert_eq!(found.len(), 1);
    assert!(found[0].starts_with("m.toml:2:"), "{found:?}");
    assert!(problems("[hls]\ndvr=\"1h\"\ndvr=\"1h\"")[0].starts_with("m.toml:3:1: "));
}

#[test]
fn later_sources_win_and_earlier_ones_are_checked_all_the_same() {
    let file = "[http]\nlisten = \"127.0.0.1:1\"\n[pipeline]\nworkers = 2";
    let env = pairs(&[("MILLSTREAM_HTTP_LISTEN", "127.0.0.1:2"), ("MILLSTREAM_CONFIG", "x")]);
    let flags = pairs(&[("http.listen", "127.0.0.1:3")]);
    let config = Config::parse(Some(("m.toml", file)), &env, &flags).unwrap();
    assert_eq!((config.http.listen.port(), config.pipeline.workers), (3, 2));
    let config = Config::parse(Some(("m.toml", file)), &env, &[]).unwrap();
    assert_eq!(config.http.listen.port(), 2);

    let wrong = Config::parse(Some(("m.toml", "[http]\nlisten = \"here\"")), &[], &flags);
    assert!(wrong.unwrap_err().to_string().starts_with("m.toml:2:1: http.listen: \"here\" is not"));
}

#[test]
fn variables_and_flags_name_themselves() {
    let env = pairs(&[("MILLSTREAM_HTTP_LISTNE", "x"), ("MILLSTREAM_PIPELINE_WORKERS", "many")]);
    let flags = pairs(&[("rtmp.lsten", "x"), ("transcode.preset", "veryfst")]);
    let error = Config::parse(None, &env, &flags).unwrap_err().to_string();
    let lines: Vec<_> = error.lines().collect();
    assert_eq!(
        lines[0],
        "environment variable MILLSTREAM_HTTP_LISTNE: unknown key MILLSTREAM_HTTP_LISTNE; \
         did you mean MILLSTREAM_HTTP_LISTEN?"
    );
    assert_eq!(
        lines[1],
        "environment variable MILLSTREAM_PIPELINE_WORKERS: pipeline.workers: \"many\" is not a \
         whole number from 1 to 64"
    );
    assert_eq!(
        lines[2],
        "command line (rtmp.lsten): unknown key rtmp.lsten; did you mean rtmp.listen?"
    );
    assert!(lines[3].ends_with("did you mean veryfast?"), "{}", lines[3]);
}

#[test]
fn ladders_are_checked_and_sorted() {
    let ladder = |text: &str| problems(&format!("[transcode]\nladder = {text}"));
    let rung = |h: i64, b: i64| format!("{{height={h}, bitrate_kbps={b}}}");
    assert!(ladder(&format!("[{}, {}]", rung(720, 3000), rung(720, 2000)))[0].contains("twice"));
    assert!(ladder(&format!("[{}]", rung(721, 3000)))[0].contains("odd"));
    assert!(ladder(&format!("[{}]", rung(720, 1)))[0].contains("bitrate_kbps 1"));
    assert!(
        ladder(&format!("[{}, {}]", rung(720, 1000), rung(480, 2000)))[0].contains("more than")
    );
    assert!(ladder("[720]")[0].contains("is not a list of heights"));
    assert!(ladder("[{height=720}]")[0].contains("each rung is"));
    assert_eq!(ladder("[]"), Vec::<String>::new());

    let tables = "[[transcode.ladder]]\nheight=480\nbitrate_kbps=1000\n\
                  [[transcode.ladder]]\nheight=720\nbitrate_kbps=3000";
    let from_file = Config::parse(Some(("m.toml", tables)), &[], &[]).unwrap();
    let env = pairs(&[("MILLSTREAM_TRANSCODE_LADDER", "480:1000, 720:3000")]);
    let from_env = Config::parse(None, &env, &[]).unwrap();
    assert_eq!(from_file.transcode.ladder, from_env.transcode.ladder);
    assert_eq!(from_env.transcode.ladder[0].height, 720);
}

#[test]
fn relations_are_checked_where_they_were_set() {
    let one = |file: &str, line: &str, part: &str| {
        let found = problems(file);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].starts_with(line) && found[0].contains(part), "{found:?}");
    };
    one("[hls]\nsegment_target = \"7s\"", "m.toml:2:1", "at most hls.segment_max (6s)");
    one("[hls]\nsegment_max = \"4500ms\"", "m.toml:2:1", "whole seconds");
    one("[rtmp]\nmessage_bytes_max = \"15MiB\"", "m.toml:2:1", "rtmp.unfinished_bytes_max (12MiB)");
    one("[rtmp]\nlisten = \"0.0.0.0:8080\"", "m.toml:2:1", "same address");
    one("[transcode]\nlag_shed = \"200ms\"", "m.toml:2:1", "come and go");
    one("[hls]\ndvr = \"5s\"", "m.toml:2:1", "three times");
    one("[http.tls]\nlisten = \"[::]:443\"\ncert = \"c\"", "m.toml:2:1", "needs http.tls.key");
    one("[data]\ndir = \"\"", "m.toml:2:1", "data.dir is empty");
}

#[test]
fn secrets_are_not_shown() {
    let file = "[admin]\ntoken = \"hunter2 hunter2 hunter2\"";
    let config = Config::parse(Some(("m.toml", file)), &[], &[]).unwrap();
    assert!(!format!("{config:?}").contains("hunter2"));
    for file in ["[admin]\ntoken = \"hunter2\"", "[admin]\ntoken = [\"hunter2\"]"] {
        let found = problems(file);
        assert!(found.len() == 1 && !found[0].contains("hunter2"), "{found:?}");
    }
}

#[test]
fn a_missing_file_says_which() {
    let error = Config::load(Some(Path::new("/nonexistent/m.toml")), &[], &[]).unwrap_err();
    assert!(error.to_string().contains("/nonexistent/m.toml"), "{error}");
}

proptest! {
    /// Whatever the file holds, the answer is a configuration or problems.
    #[test]
    fn any_text_is_answered(text in "(?s).{0,200}") {
        let _ = Config::parse(Some(("m.toml", &text)), &[], &[]);
    }

    /// Any value for any key is answered too, and its problem names the key.
    #[test]
    fn any_value_is_answered(index in 0..KEYS.len(), text in ".{0,40}") {
        let key = KEYS[index].name;
        let flags = pairs(&[(key, &text)]);
        if let Err(error) = Config::parse(None, &[], &flags) {
            prop_assert!(error.to_string().contains(key));
        }
    }

    #[test]
    fn durations_and_sizes_round_trip(amount in 0..u64::from(u32::MAX)) {
        use super::kind::{Kind, show_duration, show_size};
        let duration = Duration::from_millis(amount);
        let kind = Kind::Duration(Duration::ZERO, Duration::MAX);
        prop_assert_eq!(kind.parse_text(&show_duration(duration)), Ok(Value::Duration(duration)));
        let kind = Kind::Size(0, u64::MAX);
        prop_assert_eq!(kind.parse_text(&show_size(amount)), Ok(Value::Integer(amount)));
    }
}
