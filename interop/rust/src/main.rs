//! The driver of rdkafka for Rust, as interop/drivers.go describes them.

use std::collections::{BTreeSet, HashMap};
use std::io::{Read, Write};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rdkafka::client::ClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{DeliveryResult, Message};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, ProducerContext};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

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
    for (k, v) in more {
        c.set(*k, *v);
    }
    Ok(c.create()?)
}

fn send(p: &BaseProducer<Deliveries>, topic: &str, key: &str, value: &str) -> Res<()> {
    let mut record = BaseRecord::to(topic).key(key).payload(value);
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

/// Reads partition 0 of a topic until n values came.
fn read(topic: &str, n: usize, isolation: &str) -> Res<Vec<String>> {
    let c = consumer("unused", &[("isolation.level", isolation), ("enable.auto.commit", "false")])?;
    let mut at = TopicPartitionList::new();
    at.add_partition_offset(topic, 0, Offset::Beginning)?;
    c.assign(&at)?;
    let (mut out, end) = (Vec::new(), Instant::now() + WAIT);
    while out.len() < n {
        if Instant::now() > end {
            return Err(format!("{} of {} records of {}", out.len(), n, topic).into());
        }
        if let Some(m) = c.poll(Duration::from_millis(100)) {
            out.push(String::from_utf8_lossy(m?.payload().unwrap_or_default()).into_owned());
        }
    }
    Ok(out)
}

fn expect<T: PartialEq + std::fmt::Debug>(what: &str, got: T, want: T) -> Res<()> {
    if got == want {
        return Ok(());
    }
    Err(format!("{what}: expected {want:.300?}, got {got:.300?}").into())
}

fn numbers(n: usize) -> Vec<String> {
    (0..n).map(|i| i.to_string()).collect()
}

/// Topics are made by asking for them: the broker creates what it is asked for.
fn topic(args: &Args, name: &str) -> Res<String> {
    let t = format!("{}-{}", args.get("prefix", ""), name);
    let p = producer(&[("allow.auto.create.topics", "true")])?;
    let end = Instant::now() + WAIT;
    while Instant::now() < end {
        let meta = p.client().fetch_metadata(Some(&t), WAIT)?;
        if meta.topics().iter().any(|m| m.name() == t && m.error().is_none() && !m.partitions().is_empty())
            && p.client().fetch_watermarks(&t, 0, WAIT).is_ok()
        {
            return Ok(t);
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Err(format!("topic {t} is not served").into())
}

fn codecs(args: &Args) -> Res<()> {
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
        let t = topic(args, &format!("codec-{codec}"))?;
        let p = producer(&[("compression.type", codec)])?;
        for v in numbers(500) {
            send(&p, &t, "k", &v)?;
        }
        flush(&p)?;
        expect(codec, read(&t, 500, "read_uncommitted")?, numbers(500))?;
    }
    Ok(())
}

fn idempotence(args: &Args) -> Res<()> {
    let t = topic(args, "idempotent")?;
    let p = producer(&[("enable.idempotence", "true"), ("batch.num.messages", "10")])?;
    for v in numbers(2000) {
        send(&p, &t, "k", &v)?;
    }
    flush(&p)?;
    expect("values", read(&t, 2000, "read_uncommitted")?, numbers(2000))
}

fn transactions(args: &Args) -> Res<()> {
    let t = topic(args, "txn")?;
    let p = producer(&[("transactional.id", &format!("{t}-id"))])?;
    p.init_transactions(WAIT)?;
    let mut committed = Vec::new();
    for n in 0..6 {
        p.begin_transaction()?;
        for i in 0..10 {
            send(&p, &t, "k", &format!("{n}-{i}"))?;
        }
        if n % 3 == 1 {
            flush(&p)?;
            p.abort_transaction(WAIT)?;
        } else {
            p.commit_transaction(WAIT)?;
            committed.extend((0..10).map(|i| format!("{n}-{i}")));
        }
    }
    expect("committed values", read(&t, 40, "read_committed")?, committed)?;
    expect("uncommitted values", read(&t, 60, "read_uncommitted")?.len(), 60)
}

fn fencing(args: &Args) -> Res<()> {
    let t = topic(args, "fence")?;
    let id = format!("{t}-id");
    let zombie = producer(&[("transactional.id", &id)])?;
    zombie.init_transactions(WAIT)?;
    zombie.begin_transaction()?;
    send(&zombie, &t, "k", "zombie")?;
    flush(&zombie)?;
    let alive = producer(&[("transactional.id", &id)])?;
    alive.init_transactions(WAIT)?;
    alive.begin_transaction()?;
    send(&alive, &t, "k", "alive")?;
    alive.commit_transaction(WAIT)?;
    if zombie.commit_transaction(WAIT).is_ok() {
        return Err("a fenced producer could commit".into());
    }
    expect("committed values", read(&t, 1, "read_committed")?, vec!["alive".to_string()])
}

/// Members of a group come and go; each record is seen.
fn group(args: &Args, protocol: &'static str) -> Res<()> {
    let t = topic(args, &format!("group-{protocol}"))?;
    let name = format!("{t}-group");
    let seen = Arc::new(Mutex::new(BTreeSet::new()));
    let p = producer(&[])?;
    let mut sent = 0;
    for _ in 0..2 {
        let end = Arc::new(AtomicBool::new(false));
        let mut members = Vec::new();
        for _ in 0..2 {
            let (c, seen, end, t) = (consumer(&name, &[("group.protocol", protocol)])?, seen.clone(), end.clone(), t.clone());
            members.push(std::thread::spawn(move || -> Result<(), String> {
                c.subscribe(&[&t]).map_err(|e| e.to_string())?;
                while !end.load(Ordering::SeqCst) {
                    if let Some(m) = c.poll(Duration::from_millis(50)) {
                        let m = m.map_err(|e| e.to_string())?;
                        seen.lock().unwrap().insert((m.partition(), m.offset()));
                    }
                }
                Ok(())
            }));
        }
        for v in numbers(300) {
            send(&p, &t, &v, &v)?;
        }
        flush(&p)?;
        sent += 300;
        let limit = Instant::now() + WAIT;
        while seen.lock().unwrap().len() < sent && Instant::now() < limit {
            std::thread::sleep(Duration::from_millis(20));
        }
        end.store(true, Ordering::SeqCst);
        for m in members {
            m.join().map_err(|_| "a member panicked")??;
        }
        expect("records seen", seen.lock().unwrap().len(), sent)?;
    }
    Ok(())
}

fn check(args: &Args, failed: &mut bool, name: &str, body: impl FnOnce(&Args) -> Res<()>) {
    if args.get("only", name) != name {
        return;
    }
    let start = Instant::now();
    let result = body(args);
    let took = start.elapsed().as_secs_f64();
    match result {
        Ok(()) => println!("PASS\t{name}\t{took:.1}"),
        Err(e) => {
            *failed = true;
            println!("FAIL\t{name}\t{took:.1}\t{}", e.to_string().replace(['\n', '\t'], " "));
        }
    }
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
            check(&args, &mut failed, "codecs", codecs);
            check(&args, &mut failed, "idempotence", idempotence);
            check(&args, &mut failed, "transactions", transactions);
            check(&args, &mut failed, "transaction-fencing", fencing);
            check(&args, &mut failed, "group-classic", |a| group(a, "classic"));
            check(&args, &mut failed, "group-kip848", |a| group(a, "consumer"));
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
