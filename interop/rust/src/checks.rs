//! The checks of the smoke command.

use std::collections::BTreeSet;
use std::future::Future;
use std::io::Read;
use std::net::TcpStream;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::task::{Context, Poll, Wake};
use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions, AlterConfig, NewPartitions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{CommitMode, Consumer};
use rdkafka::message::{Message, OwnedMessage};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use crate::member::{balanced, until, Member};
use crate::{config, consumer, enqueue, flush, producer, send, Args, Deliveries, Res, WAIT};

/// Runs every check and tells whether all passed.
pub fn smoke(args: &Args) -> bool {
    let ok = AtomicBool::new(true);
    let check = |name: &str, body: &dyn Fn(&Args) -> Res<()>| {
        if args.get("only", name) != name {
            return;
        }
        let start = Instant::now();
        let result = body(args);
        let took = start.elapsed().as_secs_f64();
        match result {
            Ok(()) => println!("PASS\t{name}\t{took:.1}"),
            Err(e) => {
                ok.store(false, Ordering::SeqCst);
                println!("FAIL\t{name}\t{took:.1}\t{}", e.to_string().replace(['\n', '\t'], " "));
            }
        }
    };
    check("codecs", &codecs);
    check("idempotence", &idempotence);
    check("transactions", &transactions);
    check("transaction-fencing", &fencing);
    check("seek-by-time", &times);
    check("admin", &admin_check);
    check("large-messages", &large);
    check("many-partitions", &many);
    check("pause-resume", &pause);
    check("regex-subscription", &|a| regex(a, "classic"));
    check("group-classic", &|a| group(a, "classic"));
    check("group-cooperative", &|a| group(a, "cooperative"));
    check("group-static", &statics);
    // These wait for the heartbeats of the consumer protocol, whose interval is the broker's: they wait side by side.
    std::thread::scope(|s| {
        s.spawn(|| check("group-kip848", &|a| group(a, "consumer")));
        s.spawn(|| check("group-kip848-regex", &|a| regex(a, "consumer")));
        s.spawn(|| check("group-live-migration", &migration));
    });
    ok.load(Ordering::SeqCst)
}

/// Runs a future of the admin client, which has threads of its own, to its end.
fn wait<T>(future: impl Future<Output = T>) -> T {
    struct Unpark(std::thread::Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Arc::new(Unpark(std::thread::current())).into();
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(v) => return v,
            Poll::Pending => std::thread::park(),
        }
    }
}

fn admin() -> Res<AdminClient<DefaultClientContext>> {
    Ok(config(&[]).create()?)
}

fn options() -> AdminOptions {
    AdminOptions::new().request_timeout(Some(WAIT)).operation_timeout(Some(WAIT))
}

/// The one result of an admin request about one thing.
fn one<T, E: std::fmt::Debug>(all: Vec<Result<T, E>>) -> Res<T> {
    match all.into_iter().next() {
        Some(Ok(v)) => Ok(v),
        Some(Err(e)) => Err(format!("{e:?}").into()),
        None => Err("an answer without results".into()),
    }
}

/// A number of the environment, 1 where it says nothing.
fn count(name: &str) -> i32 {
    std::env::var(name).ok().and_then(|n| n.parse().ok()).unwrap_or(1)
}

/// Returns when every broker has acted on what was decided, see interop/drivers.go.
fn settled() -> Res<()> {
    let Ok(at) = std::env::var("SETTLE") else { return Ok(()) };
    let mut problem = String::new();
    TcpStream::connect(at)?.read_to_string(&mut problem)?;
    expect("what keeps the brokers from settling", problem.as_str(), "\n")
}

fn topic(args: &Args, name: &str, partitions: i32, more: &[(&str, &str)]) -> Res<String> {
    let t = format!("{}-{}", args.get("prefix", ""), name);
    let mut new = NewTopic::new(&t, partitions, TopicReplication::Fixed(count("REPLICAS")));
    for (k, v) in more {
        new = new.set(k, v);
    }
    let a = admin()?;
    one(wait(a.create_topics([&new], &options()))?)?;
    settled()?;
    until(&format!("{t} to be served"), || Ok((0..partitions).all(|p| a.inner().fetch_watermarks(&t, p, WAIT).is_ok())))?;
    Ok(t)
}

fn send_all(t: &str, values: &[String], more: &[(&str, &str)]) -> Res<()> {
    let p = producer(more)?;
    for v in values {
        send(&p, t, v, v)?;
    }
    flush(&p)?;
    Ok(())
}

/// Sends a record to each partition in turn.
fn spread(p: &BaseProducer<Deliveries>, t: &str, partitions: i32, n: usize) -> Res<()> {
    for v in numbers(n) {
        enqueue(p, BaseRecord::to(t).key(v.as_str()).payload(v.as_str()).partition(v.parse::<i32>()? % partitions))?;
    }
    flush(p)?;
    Ok(())
}

fn beginning(t: &str, partitions: i32) -> Res<TopicPartitionList> {
    let mut list = TopicPartitionList::new();
    for p in 0..partitions {
        list.add_partition_offset(t, p, Offset::Beginning)?;
    }
    Ok(list)
}

/// Reads a topic until n records came.
fn read(t: &str, partitions: i32, n: usize, more: &[(&str, &str)]) -> Res<Vec<OwnedMessage>> {
    let mut conf = vec![("enable.auto.commit", "false")];
    conf.extend_from_slice(more);
    let c = consumer("unused", &conf)?;
    c.assign(&beginning(t, partitions)?)?;
    let (mut out, end) = (Vec::new(), Instant::now() + WAIT);
    while out.len() < n {
        if Instant::now() > end {
            return Err(format!("{} of {n} records of {t}", out.len()).into());
        }
        if let Some(m) = c.poll(Duration::from_millis(100)) {
            out.push(m?.detach());
        }
    }
    Ok(out)
}

fn text(m: &OwnedMessage) -> String {
    String::from_utf8_lossy(m.payload().unwrap_or_default()).into_owned()
}

fn values(t: &str, n: usize, isolation: &str) -> Res<Vec<String>> {
    Ok(read(t, 1, n, &[("isolation.level", isolation)])?.iter().map(text).collect())
}

fn expect<T: PartialEq + std::fmt::Debug>(what: &str, got: T, want: T) -> Res<()> {
    if got == want {
        return Ok(());
    }
    Err(format!("{what}: expected {want:.300?}, got {got:.300?}").into())
}

/// Demands that a result is an error whose text mentions the word.
fn fails<T>(what: &str, result: Res<T>, word: &str) -> Res<()> {
    match result {
        Ok(_) => Err(format!("{what}: expected an error with {word}, got none").into()),
        Err(e) if e.to_string().contains(word) => Ok(()),
        Err(e) => Err(format!("{what}: expected an error with {word}, got {e}").into()),
    }
}

fn numbers(n: usize) -> Vec<String> {
    (0..n).map(|i| i.to_string()).collect()
}

fn codecs(args: &Args) -> Res<()> {
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
        let t = topic(args, &format!("codec-{codec}"), 1, &[])?;
        send_all(&t, &numbers(500), &[("compression.type", codec)])?;
        expect(codec, values(&t, 500, "read_uncommitted")?, numbers(500))?;
    }
    Ok(())
}

fn idempotence(args: &Args) -> Res<()> {
    let t = topic(args, "idempotent", 1, &[])?;
    send_all(&t, &numbers(2000), &[("enable.idempotence", "true"), ("batch.num.messages", "10")])?;
    expect("values", values(&t, 2000, "read_uncommitted")?, numbers(2000))
}

fn transactions(args: &Args) -> Res<()> {
    let t = topic(args, "txn", 1, &[])?;
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
    expect("committed values", values(&t, 40, "read_committed")?, committed)?;
    expect("uncommitted values", values(&t, 60, "read_uncommitted")?.len(), 60)
}

fn fencing(args: &Args) -> Res<()> {
    let t = topic(args, "fence", 1, &[])?;
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
    fails("the zombie's commit", zombie.commit_transaction(WAIT).map_err(Into::into), "fenced")?;
    expect("committed values", values(&t, 1, "read_committed")?, vec!["alive".to_string()])
}

fn times(args: &Args) -> Res<()> {
    let t = topic(args, "times", 1, &[])?;
    let base = 1_600_000_000_000;
    let p = producer(&[("compression.type", "lz4"), ("linger.ms", "50")])?;
    for v in numbers(100) {
        enqueue(&p, BaseRecord::to(&t).key("k").payload(v.as_str()).timestamp(base + v.parse::<i64>()? * 1000))?;
    }
    flush(&p)?;
    let c = consumer("unused", &[("enable.auto.commit", "false")])?;
    for (ask, want) in [(base + 41_001, Offset::Offset(42)), (0, Offset::Offset(0)), (base + 100_000, Offset::End)] {
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(&t, 0, Offset::Offset(ask))?;
        let found = c.offsets_for_times(list, WAIT)?;
        expect(&format!("offset of time {ask}"), found.elements()[0].offset(), want)?;
    }
    c.assign(&beginning(&t, 1)?)?;
    until("a record before the seek", || Ok(c.poll(Duration::from_millis(100)).transpose()?.is_some()))?;
    c.seek(&t, 0, Offset::Offset(42), WAIT)?;
    let mut first = None;
    until("a record after the seek", || {
        first = c.poll(Duration::from_millis(100)).transpose()?.map(|m| text(&m.detach()));
        Ok(first.is_some())
    })?;
    expect("first record after the seek", first, Some("42".to_string()))?;
    expect("watermarks", c.fetch_watermarks(&t, 0, WAIT)?, (0, 100))
}

fn admin_check(args: &Args) -> Res<()> {
    let t = topic(args, "admin", 2, &[("retention.ms", "3600000")])?;
    let a = admin()?;
    let again = NewTopic::new(&t, 1, TopicReplication::Fixed(count("REPLICAS")));
    fails("create again", one(wait(a.create_topics([&again], &options()))?), "TopicAlreadyExists")?;
    one(wait(a.create_partitions([&NewPartitions::new(&t, 4)], &options()))?)?;
    settled()?;
    until("4 partitions", || Ok(a.inner().fetch_metadata(Some(&t), WAIT)?.topics()[0].partitions().len() == 4))?;
    let topic = ResourceSpecifier::Topic(&t);
    let described = |name: &str| -> Res<Option<String>> {
        let r = one(wait(a.describe_configs([&topic], &options()))?)?;
        Ok(r.get(name).and_then(|e| e.value.clone()))
    };
    expect("retention.ms", described("retention.ms")?, Some("3600000".into()))?;
    one(wait(a.alter_configs([&AlterConfig::new(topic).set("max.message.bytes", "2000000")], &options()))?)?;
    settled()?;
    expect("max.message.bytes", described("max.message.bytes")?, Some("2000000".into()))?;
    expect("retention.ms, which the request left out", described("retention.ms")?, Some("604800000".into()))?;
    let p = producer(&[])?;
    spread(&p, &t, 1, 100)?;
    let mut before = TopicPartitionList::new();
    before.add_partition_offset(&t, 0, Offset::Offset(60))?;
    wait(a.delete_records(&before, &options()))?.elements()[0].error()?;
    expect("watermarks", a.inner().fetch_watermarks(&t, 0, WAIT)?, (60, 100))?;
    let group = format!("{t}-group");
    let c = consumer(&group, &[("enable.auto.commit", "false")])?;
    let mut at = TopicPartitionList::new();
    at.add_partition_offset(&t, 0, Offset::Offset(70))?;
    c.commit(&at, CommitMode::Sync)?;
    expect("committed offset", c.committed_offsets(at, WAIT)?.elements()[0].offset(), Offset::Offset(70))?;
    let listed = || -> Res<bool> { Ok(a.inner().fetch_group_list(None, WAIT)?.groups().iter().any(|g| g.name() == group)) };
    expect("group listed", listed()?, true)?;
    one(wait(a.delete_groups(&[&group], &options()))?)?;
    expect("group listed after its deletion", listed()?, false)?;
    expect("brokers", a.inner().fetch_metadata(None, WAIT)?.brokers().len(), count("NODES") as usize)?;
    one(wait(a.delete_topics(&[&t], &options()))?)?;
    until("the deletion", || Ok(!a.inner().fetch_metadata(None, WAIT)?.topics().iter().any(|m| m.name() == t)))
}

fn large(args: &Args) -> Res<()> {
    let t = topic(args, "large", 1, &[("max.message.bytes", "10000000")])?;
    let noise = |n: usize| -> Vec<u8> {
        let mut x = 1u32;
        (0..n).map(|_| { x = x.wrapping_mul(1664525).wrapping_add(1013904223); (x >> 24) as u8 }).collect()
    };
    let big = noise(5_000_000);
    let put = |value: &[u8]| -> Res<usize> {
        let p = producer(&[("message.max.bytes", "20000000")])?;
        enqueue(&p, BaseRecord::to(&t).key("k").payload(value))?;
        flush(&p)
    };
    put(&big)?;
    fails("a record too large", put(&noise(11_000_000)), "MessageSizeTooLarge")?;
    let got = read(&t, 1, 1, &[("fetch.message.max.bytes", "1000")])?;
    expect("the same bytes", got[0].payload() == Some(&big[..]), true)
}

fn many(args: &Args) -> Res<()> {
    let t = topic(args, "many", 200, &[])?;
    spread(&producer(&[])?, &t, 200, 2000)?;
    let seen: BTreeSet<(i32, i64)> = read(&t, 200, 2000, &[])?.iter().map(|m| (m.partition(), m.offset())).collect();
    expect("records", seen.len(), 2000)
}

fn pause(args: &Args) -> Res<()> {
    let t = topic(args, "pause", 2, &[])?;
    spread(&producer(&[])?, &t, 2, 200)?;
    let c = consumer("unused", &[("enable.auto.commit", "false")])?;
    c.assign(&beginning(&t, 2)?)?;
    let mut p0 = TopicPartitionList::new();
    p0.add_partition(&t, 0);
    c.pause(&p0)?;
    let mut count = [0, 0];
    let mut drain = |p: usize| -> Res<[i32; 2]> {
        until(&format!("partition {p}"), || {
            while let Some(m) = c.poll(Duration::from_millis(100)).transpose()? {
                count[m.partition() as usize] += 1;
            }
            Ok(count[p] == 100)
        })?;
        Ok(count)
    };
    expect("records while partition 0 is paused", drain(1)?, [0, 100])?;
    c.resume(&p0)?;
    expect("records after the resume", drain(0)?, [100, 100])
}

fn regex(args: &Args, protocol: &str) -> Res<()> {
    let name = format!("regex-{protocol}");
    let t1 = topic(args, &format!("{name}-1"), 1, &[])?;
    send_all(&t1, &numbers(1), &[])?;
    let prefix = args.get("prefix", "");
    let m = Member::join(&format!("{prefix}-{name}"), &format!("^{prefix}-{name}-[0-9]+"), protocol, &[])?;
    until("the first topic", || Ok(m.seen().contains(&(t1.clone(), 0, 0))))?;
    let t2 = topic(args, &format!("{name}-22"), 1, &[])?;
    topic(args, &format!("{name}-no"), 1, &[])?;
    send_all(&t2, &numbers(1), &[])?;
    until("a topic that came later", || Ok(m.seen().contains(&(t2.clone(), 0, 0))))?;
    expect("partitions assigned", m.assigned().len(), 2)?;
    m.close().map(drop)
}

/// Members come and go, and every record is seen.
fn group(args: &Args, protocol: &str) -> Res<()> {
    let t = topic(args, &format!("group-{protocol}"), 6, &[])?;
    let g = format!("{t}-group");
    let p = producer(&[])?;
    spread(&p, &t, 6, 600)?;
    let join = || Member::join(&g, &t, protocol, &[]);
    let a = join()?;
    balanced(6, &[&a])?;
    let (b, c) = (join()?, join()?);
    balanced(6, &[&a, &b, &c])?;
    let seen = b.close()?;
    balanced(6, &[&a, &c])?;
    spread(&p, &t, 6, 600)?;
    until("1200 records", || Ok((&(&seen | &a.seen()) | &c.seen()).len() == 1200))?;
    a.close()?;
    balanced(6, &[&c])?;
    c.close().map(drop)
}

fn statics(args: &Args) -> Res<()> {
    let t = topic(args, "static", 4, &[])?;
    let g = format!("{t}-group");
    let join = |id| Member::join(&g, &t, "classic", &[("group.instance.id", id), ("session.timeout.ms", "30000")]);
    let (a, b) = (join("one")?, join("two")?);
    balanced(4, &[&a, &b])?;
    let (before, rebalances) = (a.assigned(), b.rebalances());
    a.close()?;
    let a = join("one")?;
    balanced(4, &[&a, &b])?;
    expect("assignment after the restart of a static member", a.assigned(), before)?;
    expect("rebalances of the other member", b.rebalances(), rebalances)?;
    let twin = join("one")?;
    until("the fencing of the old twin", || Ok(a.error().is_some()))?;
    fails("the old twin", a.close(), "FencedInstanceId")?;
    balanced(4, &[&twin, &b])?;
    twin.close()?;
    b.close().map(drop)
}

/// A classic group is rolled to the consumer protocol and back, without a stop.
fn migration(args: &Args) -> Res<()> {
    let t = topic(args, "migrate", 6, &[])?;
    let g = format!("{t}-group");
    let join = |protocol| Member::join(&g, &t, protocol, &[]);
    let (a, b) = (join("classic")?, join("classic")?);
    balanced(6, &[&a, &b])?;
    let c = join("consumer")?;
    balanced(6, &[&a, &b, &c])?;
    a.close()?;
    b.close()?;
    balanced(6, &[&c])?;
    let d = join("classic")?;
    balanced(6, &[&c, &d])?;
    c.close()?;
    balanced(6, &[&d])?;
    d.close().map(drop)
}
