"""The driver of confluent-kafka-python, and so of librdkafka."""

import os
import random
import sys
import threading
import time

from confluent_kafka import (Consumer, ConsumerGroupTopicPartitions, KafkaError, KafkaException, Producer,
                             TopicPartition, OFFSET_BEGINNING, ConsumerGroupState, IsolationLevel)
from confluent_kafka.admin import (AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, NewPartitions, NewTopic,
                                   OffsetSpec, ResourceType)

from checks import ARGS, BOOTSTRAP, CODECS, COMMAND, MECHANISM, NODES, PASSWORD, REPLICAS, USER, check, expect, fails, finish, lines, settled, side_by_side, until, until_stdin_ends

PREFIX = ARGS.get("prefix", "")


# TLS_CA names who signed the broker's certificate, TLS_KEY a file with the client's key and certificate: then over TLS.
BROKER = {"bootstrap.servers": BOOTSTRAP}
if os.environ.get("TLS_CA"):
    BROKER |= {"security.protocol": "SSL", "ssl.ca.location": os.environ["TLS_CA"],
               "ssl.certificate.location": os.environ["TLS_KEY"], "ssl.key.location": os.environ["TLS_KEY"]}

if MECHANISM:
    BROKER |= {"security.protocol": "SASL_SSL" if os.environ.get("TLS_CA") else "SASL_PLAINTEXT", "sasl.mechanism": MECHANISM,
               "sasl.username": USER, "sasl.password": PASSWORD}

ADMIN = AdminClient(BROKER)


def admin():
    return ADMIN


def producer(**kv):
    conf = {**BROKER, "partitioner": "murmur2_random", "acks": "all"}
    conf.update({k.replace("_", "."): v for k, v in kv.items()})
    return Producer(conf)


def consumer(group, protocol="classic", **kv):
    conf = {**BROKER, "group.id": group, "auto.offset.reset": "earliest",
            "topic.metadata.refresh.interval.ms": 1000, "group.protocol": protocol}
    if protocol == "classic":
        conf["heartbeat.interval.ms"] = 500
    conf.update({k.replace("_", "."): v for k, v in kv.items()})
    return Consumer(conf)


def topic(name, partitions=1, **config):
    t = f"{PREFIX}-{name}"
    cfg = {k.replace("_", "."): str(v) for k, v in config.items()}
    admin().create_topics([NewTopic(t, partitions, REPLICAS, config=cfg)])[t].result(20)
    settled()
    until(f"{t} to be served", lambda: served(t, partitions))
    return t


def served(t, partitions):
    # A client of its own: one that did not find a topic once remembers that for minutes.
    a = AdminClient(BROKER)
    try:
        for f in a.list_offsets({TopicPartition(t, p): OffsetSpec.latest() for p in range(partitions)}).values():
            f.result(20)
        return True
    except KafkaException as e:
        if e.args[0].code() in (KafkaError.NOT_LEADER_FOR_PARTITION, KafkaError.UNKNOWN_TOPIC_OR_PART,
                                KafkaError.LEADER_NOT_AVAILABLE, KafkaError._NOENT):
            return False
        raise


def send(t, values, **kv):
    p = producer(**kv)
    errors = []
    for v in values:
        p.produce(t, value=v, on_delivery=lambda e, m: errors.append(e) if e else None)
        p.poll(0)
    p.flush(30)
    if errors:
        raise KafkaException(errors[0])


def read(t, partitions=1, isolation="read_uncommitted", **kv):
    """Everything in a topic up to its end, as messages in partition and offset order."""
    c = consumer("unused", isolation_level=isolation, enable_auto_commit=False, enable_partition_eof=True, **kv)
    c.assign([TopicPartition(t, p, OFFSET_BEGINNING) for p in range(partitions)])
    out, ended = [], set()
    end = time.monotonic() + 40
    while len(ended) < partitions:
        if time.monotonic() > end:
            raise AssertionError(f"no end of {t} within 40 s")
        m = c.poll(0.2)
        if m is None:
            continue
        if m.error():
            if m.error().code() != KafkaError._PARTITION_EOF:
                raise KafkaException(m.error())
            ended.add(m.partition())
        else:
            out.append(m)
    c.close()
    return sorted(out, key=lambda m: (m.partition(), m.offset()))


def values(t, **kv):
    return [m.value().decode() for m in read(t, **kv)]


def committed_are(want, t):
    """Waits until read_committed sees the values: a commit is answered before its markers are written."""
    got = []
    end = time.monotonic() + 20
    while len(got) < len(want) and time.monotonic() < end:
        got = values(t, isolation="read_committed")
    expect(want, got, "committed values")


class Member:
    """A group member polled by its own thread."""

    def __init__(self, group, subscription, protocol="classic", **kv):
        self.assigned, self.seen, self.error, self.rebalances = set(), set(), None, 0
        self.end = threading.Event()
        self.args = (group, subscription, protocol, kv)
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        group, subscription, protocol, kv = self.args
        try:
            c = consumer(group, protocol, **kv)
            c.subscribe(subscription)
            while not self.end.is_set():
                m = c.poll(0.05)
                now = {(tp.topic, tp.partition) for tp in c.assignment()}
                if now != self.assigned:
                    self.assigned, self.rebalances = now, self.rebalances + 1
                if m is None:
                    continue
                if m.error():
                    if m.error().code() in (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._PARTITION_EOF):
                        continue
                    raise KafkaException(m.error())
                self.seen.add((m.topic(), m.partition(), m.offset()))
            c.close()
        except Exception as e:
            self.error = e

    def close(self):
        self.end.set()
        self.thread.join(20)
        if self.thread.is_alive():
            raise AssertionError("a member did not close within 20 s")
        if self.error:
            raise self.error


def balanced(n, *members):
    def done():
        for m in members:
            if m.error:
                raise m.error
        each = [len(m.assigned) for m in members]
        return sum(each) == n and len(set().union(*(m.assigned for m in members))) == n and max(each) <= -(-n // len(members))

    until(f"{n} partitions spread over {len(members)} members", done)


def produce():
    p = producer(compression_type=ARGS["codec"], linger_ms=5, enable_idempotence=True)
    acked, errors = [0], []

    def delivered(e, m):
        if e:
            errors.append(e)
        else:
            acked[0] += 1

    for key, value in lines():
        while True:
            try:
                p.produce(ARGS["topic"], key=key, value=value, on_delivery=delivered)
                break
            except BufferError:
                p.poll(0.1)
        p.poll(0)
    p.flush(60)
    if errors:
        raise KafkaException(errors[0])
    print("acked", acked[0])


def consume():
    end = until_stdin_ends()
    c = consumer(ARGS["group"], ARGS.get("protocol", "classic"), isolation_level=ARGS.get("isolation", "read_uncommitted"))
    c.subscribe([ARGS["topic"]])
    while not end.is_set():
        out = []
        for m in c.consume(1000, 0.2):
            if m.error():
                raise KafkaException(m.error())
            out.append(f"{m.partition()}\t{m.offset()}\t{m.key().decode()}\t{m.value().decode()}\n")
        sys.stdout.write("".join(out))
        sys.stdout.flush()
    c.close()


def move():
    p = producer(transactional_id=ARGS["txid"], compression_type=ARGS.get("codec", "lz4"))
    c = consumer(ARGS["group"], enable_auto_commit=False)
    p.init_transactions(30)
    c.subscribe([ARGS["from"]])
    moved = aborted = txns = 0
    while moved < int(ARGS["expect"]):
        batch = c.consume(1000, 0.5)
        if not batch:
            continue
        first, last = {}, {}
        p.begin_transaction()
        for m in batch:
            if m.error():
                raise KafkaException(m.error())
            p.produce(ARGS["to"], key=m.key(), value=m.value())
            first.setdefault(m.partition(), m.offset())
            last[m.partition()] = m.offset() + 1
        p.send_offsets_to_transaction([TopicPartition(ARGS["from"], k, v) for k, v in last.items()], c.consumer_group_metadata(), 30)
        txns += 1
        if txns % int(ARGS["abort"]) == 0:
            p.flush(30)
            p.abort_transaction(30)
            aborted += len(batch)
            for k, v in first.items():
                c.seek(TopicPartition(ARGS["from"], k, v))
        else:
            p.commit_transaction(30)
            moved += len(batch)
    c.close()
    print("moved", moved, "aborted", aborted)


def codecs():
    for codec in CODECS:
        t = topic("codec-" + codec)
        sent = [f"{codec}-{i}-{'x' * (i % 50)}" for i in range(500)]
        send(t, sent, compression_type=codec, linger_ms=20)
        expect(sent, values(t), codec + " values")


def nulls():
    t = topic("nulls")
    p = producer()
    p.produce(t, key=None, value=None)
    p.produce(t, key=b"", value=b"")
    p.produce(t, key=b"k", value=b"v", timestamp=1000000000000, headers=[("a", b"1"), ("a", None), ("", b"")])
    p.flush(20)
    got = read(t)
    expect([None, b"", b"k"], [m.key() for m in got], "keys")
    expect([None, b"", b"v"], [m.value() for m in got], "values")
    expect([("a", b"1"), ("a", None), ("", b"")], got[2].headers(), "headers")
    expect(1000000000000, got[2].timestamp()[1], "timestamp")


def idempotence():
    t = topic("idempotent")
    send(t, [str(i) for i in range(3000)], enable_idempotence=True, batch_num_messages=10)
    got = read(t)
    expect(list(range(3000)), [m.offset() for m in got], "offsets")
    expect([str(i) for i in range(3000)], [m.value().decode() for m in got], "values")


def transactions():
    t = topic("txn")
    p = producer(transactional_id=PREFIX + "-txn")
    p.init_transactions(30)
    committed = []
    for n in range(6):
        p.begin_transaction()
        for i in range(10):
            p.produce(t, value=f"{n}-{i}")
        if n % 3 == 1:
            p.flush(20)
            p.abort_transaction(30)
        else:
            p.commit_transaction(30)
            committed += [f"{n}-{i}" for i in range(10)]
    committed_are(committed, t)
    expect(60, len(values(t)), "uncommitted values")
    p.begin_transaction()
    p.produce(t, value="open")
    p.flush(20)
    tp = TopicPartition(t, 0)
    offsets = {}
    for iso in (IsolationLevel.READ_COMMITTED, IsolationLevel.READ_UNCOMMITTED):
        offsets[iso] = admin().list_offsets({tp: OffsetSpec.latest()}, isolation_level=iso)[tp].result(20).offset
    expect([66, 67], [offsets[IsolationLevel.READ_COMMITTED], offsets[IsolationLevel.READ_UNCOMMITTED]], "end offsets")
    p.abort_transaction(30)


def fencing():
    t = topic("fence")
    zombie = producer(transactional_id=PREFIX + "-fence")
    zombie.init_transactions(30)
    zombie.begin_transaction()
    zombie.produce(t, value="zombie")
    zombie.flush(20)
    p = producer(transactional_id=PREFIX + "-fence")
    p.init_transactions(30)
    p.begin_transaction()
    p.produce(t, value="alive")
    p.commit_transaction(30)
    fails(lambda: zombie.commit_transaction(30), "FENCED", "INVALID_PRODUCER_EPOCH")
    committed_are(["alive"], t)


def seek_by_time():
    t = topic("times")
    base = 1600000000000
    p = producer(compression_type="lz4", linger_ms=50)
    for i in range(100):
        p.produce(t, value=str(i), timestamp=base + i * 1000)
    p.flush(20)
    c = consumer(PREFIX + "-times")
    for ask, want in ((base + 41001, 42), (0, 0), (base + 100000, -1)):
        expect(want, c.offsets_for_times([TopicPartition(t, 0, ask)], 20)[0].offset, f"offset of time {ask}")
    c.assign([TopicPartition(t, 0, 42)])
    m = None
    end = time.monotonic() + 20
    while m is None and time.monotonic() < end:
        m = c.poll(0.5)
    expect("42", m.value().decode(), "first record at the offset")
    expect((0, 100), c.get_watermark_offsets(TopicPartition(t, 0), 20), "watermarks")
    c.close()
    tp = TopicPartition(t, 0)
    expect(99, admin().list_offsets({tp: OffsetSpec.max_timestamp()})[tp].result(20).offset, "offset of the highest timestamp")


def admin_check():
    t = topic("admin", 2, retention_ms=3600000)
    a = admin()
    fails(lambda: a.create_topics([NewTopic(t, 1, REPLICAS)])[t].result(20), "TOPIC_ALREADY_EXISTS")
    fails(lambda: a.create_topics([NewTopic("a b", 1, REPLICAS)])["a b"].result(20), "TOPIC_EXCEPTION")
    a.create_partitions([NewPartitions(t, 4)])[t].result(20)
    settled()
    until("4 partitions", lambda: len(a.list_topics(t, 10).topics[t].partitions) == 4)
    res = ConfigResource(ResourceType.TOPIC, t)
    expect("3600000", a.describe_configs([res])[res].result(20)["retention.ms"].value, "retention.ms")
    res.add_incremental_config(ConfigEntry("retention.ms", None, incremental_operation=AlterConfigOpType.DELETE))
    res.add_incremental_config(ConfigEntry("max.message.bytes", "2000000", incremental_operation=AlterConfigOpType.SET))
    a.incremental_alter_configs([res])[res].result(20)
    settled()
    got = a.describe_configs([ConfigResource(ResourceType.TOPIC, t)])
    got = next(iter(got.values())).result(20)
    expect(["604800000", "2000000"], [got["retention.ms"].value, got["max.message.bytes"].value], "altered configs")
    p = producer()
    for i in range(100):
        p.produce(t, value=str(i), partition=0)
    p.flush(20)
    a.delete_records([TopicPartition(t, 0, 60)])[TopicPartition(t, 0)].result(20)
    tp = TopicPartition(t, 0)
    expect(60, a.list_offsets({tp: OffsetSpec.earliest()})[tp].result(20).offset, "earliest offset")
    group = PREFIX + "-admin"
    c = consumer(group)
    c.commit(offsets=[TopicPartition(t, 0, 70)], asynchronous=False)
    c.close()
    got = a.list_consumer_group_offsets([ConsumerGroupTopicPartitions(group)])[group].result(20)
    expect([70], [x.offset for x in got.topic_partitions], "committed offset")
    expect(ConsumerGroupState.EMPTY, a.describe_consumer_groups([group])[group].result(20).state, "group state")
    expect(True, group in [g.group_id for g in a.list_consumer_groups().result(20).valid], "group listed")
    a.delete_consumer_groups([group])[group].result(20)
    expect(NODES, len(a.describe_cluster().result(20).nodes), "nodes")
    a.delete_topics([t])[t].result(20)
    until("the deletion", lambda: t not in a.list_topics(timeout=10).topics)


def large():
    t = topic("large", max_message_bytes=10000000)
    big = random.Random(1).randbytes(5000000)
    send(t, [big], message_max_bytes=20000000)
    expect([big], [m.value() for m in read(t, fetch_message_max_bytes=1000)], "the large value")
    fails(lambda: send(t, [os.urandom(11000000)], message_max_bytes=20000000), "MSG_SIZE_TOO_LARGE")


def many():
    t = topic("many", 200)
    p = producer()
    errors = []
    for i in range(2000):
        p.produce(t, value=str(i), partition=i % 200, on_delivery=lambda e, m: errors.append(e) if e else None)
    p.flush(30)
    expect([], errors, "failed deliveries")
    expect(2000, len({(m.partition(), m.offset()) for m in read(t, partitions=200)}), "records")


def pause_resume():
    t = topic("pause", 2)
    p = producer()
    for i in range(200):
        p.produce(t, value=str(i), partition=i % 2)
    p.flush(20)
    c = consumer(PREFIX + "-pause")
    c.assign([TopicPartition(t, 0, OFFSET_BEGINNING), TopicPartition(t, 1, OFFSET_BEGINNING)])
    c.pause([TopicPartition(t, 0)])
    count = {0: 0, 1: 0}

    def drain(n):
        end = time.monotonic() + 30
        while count[n] < 100 and time.monotonic() < end:
            for m in c.consume(500, 0.2):
                count[m.partition()] += 1

    drain(1)
    expect({0: 0, 1: 100}, count, "records while partition 0 is paused")
    c.resume([TopicPartition(t, 0)])
    drain(0)
    expect({0: 100, 1: 100}, count, "records after the resume")
    c.close()


def group(protocol, **kv):
    name = f"{protocol}-{len(kv)}"
    t, g = topic("group-" + name, 6), f"{PREFIX}-group-{name}"
    send(t, [str(i) for i in range(600)])
    a = Member(g, [t], protocol, **kv)
    balanced(6, a)
    b, c = Member(g, [t], protocol, **kv), Member(g, [t], protocol, **kv)
    balanced(6, a, b, c)
    expect(3, len(admin().describe_consumer_groups([g])[g].result(20).members), "described members")
    b.close()
    balanced(6, a, c)
    send(t, [str(i) for i in range(600)])
    until("1200 records", lambda: len(a.seen | b.seen | c.seen) == 1200)
    c.close()
    a.close()


def static():
    t, g = topic("static", 4), PREFIX + "-static"
    kv = {"session_timeout_ms": 30000}
    a, b = Member(g, [t], group_instance_id="one", **kv), Member(g, [t], group_instance_id="two", **kv)
    balanced(4, a, b)
    before, rebalances = a.assigned, b.rebalances
    a.close()
    a = Member(g, [t], group_instance_id="one", **kv)
    balanced(4, a, b)
    expect(before, a.assigned, "assignment after the restart of a static member")
    expect(rebalances, b.rebalances, "rebalances of the other member")
    twin = Member(g, [t], group_instance_id="one", **kv)
    until("the fencing of the old twin", lambda: a.error is not None)
    expect(True, "fenced" in repr(a.error), f"the old twin's error {a.error!r}")
    twin.close()
    b.close()


def regex(protocol):
    t1 = topic(f"regex-{protocol}-1")
    send(t1, ["one"])
    m = Member(f"{PREFIX}-regex-{protocol}", [f"^{PREFIX}-regex-{protocol}-[0-9]+"], protocol)
    until("the first topic", lambda: (t1, 0, 0) in m.seen)
    t2 = topic(f"regex-{protocol}-22")
    topic(f"regex-{protocol}-no")
    send(t2, ["two"])
    until("a topic that came later", lambda: (t2, 0, 0) in m.seen)
    expect(2, len(m.assigned), "partitions assigned")
    m.close()


def migration():
    t, g = topic("migrate", 6), PREFIX + "-migrate"
    a, b = Member(g, [t]), Member(g, [t])
    balanced(6, a, b)
    c = Member(g, [t], "consumer")
    balanced(6, a, b, c)
    a.close()
    b.close()
    balanced(6, c)
    d = Member(g, [t])
    balanced(6, c, d)
    c.close()
    balanced(6, d)
    d.close()


def smoke():
    check("codecs", codecs)
    check("null-keys-values-headers", nulls)
    check("idempotence", idempotence)
    check("transactions", transactions)
    check("transaction-fencing", fencing)
    check("seek-by-time", seek_by_time)
    check("admin", admin_check)
    check("large-messages", large)
    check("many-partitions", many)
    check("pause-resume", pause_resume)
    check("group-classic", lambda: group("classic"))
    check("group-cooperative", lambda: group("classic", partition_assignment_strategy="cooperative-sticky"))
    check("group-static", static)
    check("regex-subscription", lambda: regex("classic"))
    side_by_side(("group-kip848", lambda: group("consumer")), ("group-kip848-regex", lambda: regex("consumer")),
                 ("group-live-migration", migration))
    finish()


{"produce": produce, "consume": consume, "move": move, "smoke": smoke}[COMMAND]()
