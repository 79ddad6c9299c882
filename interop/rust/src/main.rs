//! The driver of rdkafka for Rust, as interop/drivers.go describes them.

mod checks;
mod member;

use std::collections::HashMap;
use std::io::{Read, Write};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rdkafka::client::ClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{DeliveryResult, Message, ToBytes};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, ProducerContext};

type Res<T> = Result<T, Box<dyn std::error::Error>>;

const WAIT: Duration = Duration::from_secs(30);

struct Args(HashMap<String, String>);

impl Args {
    fn get(&self, key: &str, default: &str) -> String {
        self.0.get(key).cloned().unwrap_or_else(|| default.to_string())
    }
    fn number(&self, key: &str, default: usize) -> usize {
        self.get(key, "").parse().unwrap_or(default)
    }
}

/// Counts deliveries and keeps the first failure.
#[derive(Default)]
struct Deliveries {
    acked: AtomicUsize,
    failed: Mutex<Option<String>>,
}

impl ClientContext for Deliveries {}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = ();
    fn delivery(&self, result: &DeliveryResult<'_>, _: ()) {
        match result {
            Ok(_) => {
                self.acked.fetch_add(1, Ordering::SeqCst);
            }
            Err((e, _)) => {
                self.failed.lock().unwrap().get_or_insert(e.to_string());
            }
        }
    }
}

fn config(more: &[(&str, &str)]) -> ClientConfig {
    let mut c = ClientConfig::new();
    c.set("bootstrap.servers", std::env::var("BOOTSTRAP").unwrap_or_default());
    if let Ok(mechanism) = std::env::var("SASL_MECHANISM") {
        c.set("security.protocol", "SASL_PLAINTEXT").set("sasl.mechanism", mechanism);
        c.set("sasl.username", std::env::var("SASL_USER").unwrap_or_default());
        c.set("sasl.password", std::env::var("SASL_PASSWORD").unwrap_or_default());
    }
    for (k, v) in more {
        c.set(*k, *v);
    }
    c
}

fn producer(more: &[(&str, &str)]) -> Res<BaseProducer<Deliveries>> {
    let mut c = config(&[("acks", "all"), ("partitioner", "murmur2_random"), ("linger.ms", "5")]);
    for (k, v) in more {
        c.set(*k, *v);
    }
    Ok(c.create_with_context(Deliveries::default())?)
}

fn consumer(group: &str, more: &[(&str, &str)]) -> Res<BaseConsumer> {
    let mut c = config(&[("auto.offset.reset", "earliest"), ("group.id", group), ("topic.metadata.refresh.interval.ms", "1000")]);
    if !more.contains(&("group.protocol", "consumer")) {
        c.set("heartbeat.interval.ms", "500");
    }
    for (k, v) in more {
        c.set(*k, *v);
    }
    Ok(c.create()?)
}

fn send(p: &BaseProducer<Deliveries>, topic: &str, key: &str, value: &str) -> Res<()> {
    enqueue(p, BaseRecord::to(topic).key(key).payload(value))
}

/// Hands a record to the client, waiting for room in its queue.
fn enqueue<V: ToBytes + ?Sized>(p: &BaseProducer<Deliveries>, mut record: BaseRecord<str, V>) -> Res<()> {
    loop {
        match p.send(record) {
            Ok(()) => return Ok(()),
            Err((e, r)) if e.rdkafka_error_code() == Some(rdkafka::types::RDKafkaErrorCode::QueueFull) => {
                record = r;
                p.poll(Duration::from_millis(100));
            }
            Err((e, _)) => return Err(e.into()),
        }
    }
}

fn flush(p: &BaseProducer<Deliveries>) -> Res<usize> {
    p.flush(WAIT)?;
    match p.context().failed.lock().unwrap().take() {
        Some(e) => Err(e.into()),
        None => Ok(p.context().acked.load(Ordering::SeqCst)),
    }
}

fn produce(args: &Args) -> Res<()> {
    let text = std::fs::read_to_string(args.get("file", ""))?;
    let p = producer(&[("compression.type", &args.get("codec", "none"))])?;
    let topic = args.get("topic", "");
    for line in text.lines().skip(args.number("from", 0)).take(args.number("count", usize::MAX)) {
        let (key, value) = line.split_once('\t').ok_or("a line without a key")?;
        send(&p, &topic, key, value)?;
        p.poll(Duration::ZERO);
    }
    println!("acked {}", flush(&p)?);
    Ok(())
}

fn consume(args: &Args) -> Res<()> {
    let end = Arc::new(AtomicBool::new(false));
    let at_end = end.clone();
    std::thread::spawn(move || {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        at_end.store(true, Ordering::SeqCst);
    });
    let c = consumer(&args.get("group", ""), &[
        ("isolation.level", &args.get("isolation", "read_uncommitted")),
        ("group.protocol", &args.get("protocol", "classic")),
    ])?;
    c.subscribe(&[&args.get("topic", "")])?;
    let mut out = std::io::BufWriter::new(std::io::stdout());
    while !end.load(Ordering::SeqCst) {
        match c.poll(Duration::from_millis(100)) {
            None => out.flush()?,
            Some(m) => {
                let m = m?;
                let text = |b: Option<&[u8]>| String::from_utf8_lossy(b.unwrap_or_default()).into_owned();
                writeln!(out, "{}\t{}\t{}\t{}", m.partition(), m.offset(), text(m.key()), text(m.payload()))?;
            }
        }
    }
    out.flush()?;
    c.commit_consumer_state(rdkafka::consumer::CommitMode::Sync).ok();
    Ok(())
}

fn main() {
    let mut argv = std::env::args().skip(1);
    let command = argv.next().unwrap_or_default();
    let args = Args(argv.filter_map(|a| a.split_once('=').map(|(k, v)| (k.to_string(), v.to_string()))).collect());
    let mut failed = false;
    let result = match command.as_str() {
        "produce" => produce(&args),
        "consume" => consume(&args),
        "smoke" => {
            failed = !checks::smoke(&args);
            Ok(())
        }
        _ => Err(format!("unknown command {command}").into()),
    };
    if let Err(e) = result {
        eprintln!("{e}");
        failed = true;
    }
    std::process::exit(failed as i32);
}
