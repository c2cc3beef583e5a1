//! Logs that can't be opened say why and what to do.

use std::process::Command;
use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;

use super::prefix;
use super::tansu::{self, Tansu, free_port};
use crate::{Kafka, KafkaOptions, Log, NewRecord, Topic, wait};

fn options(properties: &[(&str, &str)]) -> KafkaOptions {
    let properties = properties.iter().map(|(name, value)| ((*name).into(), (*value).into()));
    KafkaOptions { properties: properties.collect(), ..KafkaOptions::default() }
}

fn refusal(url: &str, options: &KafkaOptions) -> String {
    let begun = Instant::now();
    let refused = Kafka::open(url, options).err().expect("it cannot be opened").to_string();
    assert!(begun.elapsed() < Duration::from_secs(15), "took {:?}", begun.elapsed());
    refused
}

#[test]
fn nobody_listens() {
    let port = free_port();
    let said = refusal(&format!("kafka://127.0.0.1:{port}/x"), &options(&[]));
    for word in [&*format!("127.0.0.1:{port}"), "Connection refused", "check that the brokers"] {
        assert!(said.contains(word), "{said}");
    }
}

#[test]
fn unknown_hosts_are_named() {
    let said = refusal("kafka://no-such-host.invalid:9092/x", &options(&[]));
    assert!(said.contains("no-such-host.invalid") && said.contains("host names"), "{said}");
}

#[test]
fn credentials_count() {
    let mut broker = Tansu::start();
    let address = format!("tcp://127.0.0.1:{}", broker.port);
    let created = Command::new(tansu::binary())
        .args(["user", "create", "--broker", &address, "bob", "right"])
        .output()
        .unwrap();
    assert!(created.status.success(), "{created:?}");
    broker.flags.push("--authentication".into());
    broker.restart();
    let with = |password| {
        options(&[
            ("security.protocol", "sasl_plaintext"),
            ("sasl.mechanism", "SCRAM-SHA-512"),
            ("sasl.username", "bob"),
            ("sasl.password", password),
        ])
    };
    let url = broker.url(&prefix());
    let said = refusal(&url, &with("wrong"));
    assert!(said.contains("sasl.*") && !said.contains("wrong"), "{said}");
    let log = Kafka::open(&url, &with("right")).unwrap();
    assert_eq!(wait(log.append(Topic::Events, NewRecord::new(0, "", "in"))).unwrap(), 0);
}

#[test]
fn certificates_count() {
    let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
    let made = rcgen::generate_simple_self_signed(names).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let cert = dir.path().join("cert.pem");
    std::fs::write(&cert, made.cert.pem()).unwrap();
    let cert = cert.to_str().unwrap();
    // Tansu 0.6 takes a certificate or a key, but not both: something else speaks TLS for it.
    let port = free_port();
    let broker = Tansu::behind(Some(port));
    let _proxy = tls_proxy(port, broker.port, &made);
    let url = format!("kafka://127.0.0.1:{port}/{}", prefix());
    let said = refusal(&url, &options(&[("security.protocol", "ssl")]));
    assert!(said.contains("certificate verify failed") && said.contains("ssl.*"), "{said}");
    let trusting = options(&[("security.protocol", "ssl"), ("ssl.ca.location", cert)]);
    let log = Kafka::open(&url, &trusting).unwrap();
    assert_eq!(wait(log.append(Topic::Events, NewRecord::new(0, "", "in"))).unwrap(), 0);
}

/// Speaks TLS on `port` and forwards what is inside to `broker`, until dropped.
fn tls_proxy(
    port: u16,
    broker: u16,
    made: &rcgen::CertifiedKey<rcgen::KeyPair>,
) -> tokio::runtime::Runtime {
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let key = rustls::pki_types::PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key.into())
        .unwrap();
    let tls = tokio_rustls::TlsAcceptor::from(std::sync::Arc::new(config));
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let listener = runtime.block_on(tokio::net::TcpListener::bind(("127.0.0.1", port))).unwrap();
    runtime.spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let tls = tls.clone();
            tokio::spawn(async move {
                let mut client = tls.accept(client).await?;
                let mut broker = tokio::net::TcpStream::connect(("127.0.0.1", broker)).await?;
                tokio::io::copy_bidirectional(&mut client, &mut broker).await
            });
        }
    });
    runtime
}

#[test]
fn topics_of_another_shape_are_refused() {
    let broker = Tansu::start();
    let prefix = prefix();
    let mut config = rdkafka::ClientConfig::new();
    config.set("bootstrap.servers", format!("127.0.0.1:{}", broker.port));
    let admin: AdminClient<DefaultClientContext> = config.create().unwrap();
    let name = format!("{prefix}.chat");
    let topic = NewTopic::new(&name, 3, TopicReplication::Fixed(1));
    let patience = AdminOptions::new().operation_timeout(Some(Duration::from_secs(10)));
    wait(admin.create_topics(&[topic], &patience)).unwrap();
    let said = refusal(&broker.url(&prefix), &options(&[]));
    for word in [&*name, "3 partitions instead of 16", "another prefix"] {
        assert!(said.contains(word), "{said}");
    }
    // Nor a catalog that would lose its entries with time.
    let name = format!("{prefix}2.catalog");
    let topic = NewTopic::new(&name, 1, TopicReplication::Fixed(1)).set("cleanup.policy", "delete");
    wait(admin.create_topics(&[topic], &patience)).unwrap();
    let said = refusal(&broker.url(&format!("{prefix}2")), &options(&[]));
    assert!(said.contains(&name) && said.contains("cleanup.policy"), "{said}");
}
