"""The driver of aiokafka."""

import asyncio
import sys
import uuid

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError, ProducerFenced, TopicAlreadyExistsError

from checks import ARGS, BOOTSTRAP, CODECS, COMMAND, REPLICAS, acheck, expect, finish, lines, login, settled, until_stdin_ends

PREFIX = ARGS.get("prefix", "")


async def producer(**kv):
    p = AIOKafkaProducer(bootstrap_servers=BOOTSTRAP, **{"acks": "all", **login(), **kv})
    await p.start()
    return p


async def consumer(*topics, **kv):
    defaults = {"auto_offset_reset": "earliest", "metadata_max_age_ms": 1000, "heartbeat_interval_ms": 500}
    c = AIOKafkaConsumer(*topics, bootstrap_servers=BOOTSTRAP, **{**defaults, **login(), **kv})
    await c.start()
    return c


async def topic(name, partitions=1, **config):
    t = f"{PREFIX}-{name}"
    a = AIOKafkaAdminClient(bootstrap_servers=BOOTSTRAP)
    await a.start()
    try:
        r = await a.create_topics([NewTopic(t, partitions, REPLICAS, topic_configs=config)])
        for err in r.topic_errors:
            if err[1]:
                raise AssertionError(f"create {t}: error {err}")
    finally:
        await a.close()
    await asyncio.to_thread(settled)
    c = await consumer(enable_auto_commit=False)
    for _ in range(200):
        try:
            if len(await c.end_offsets([TopicPartition(t, p) for p in range(partitions)])) == partitions:
                break
        except KafkaError:
            pass
        await asyncio.sleep(0.05)
    await c.stop()
    return t


async def send(t, values, **kv):
    p = await producer(**kv)
    try:
        for f in [await p.send(t, v.encode() if isinstance(v, str) else v) for v in values]:
            await f
    finally:
        await p.stop()


async def read(t, partitions=1, isolation="read_uncommitted", **kv):
    c = await consumer(enable_auto_commit=False, isolation_level=isolation, **kv)
    tps = [TopicPartition(t, p) for p in range(partitions)]
    c.assign(tps)
    await c.seek_to_beginning(*tps)
    ends = await c.end_offsets(tps)
    out = []
    while any([await c.position(tp) < ends[tp] for tp in tps]):
        for ms in (await c.getmany(timeout_ms=200)).values():
            out += ms
    await c.stop()
    return sorted(out, key=lambda m: (m.partition, m.offset))


async def values(t, **kv):
    return [m.value.decode() for m in await read(t, **kv)]


async def committed_are(want, t):
    """Waits until read_committed sees the values: a commit is answered before its markers are written."""
    got = []
    for _ in range(100):
        got = await values(t, isolation="read_committed")
        if len(got) >= len(want):
            break
    expect(want, got, "committed values")


async def produce():
    p = await producer(compression_type=None if ARGS["codec"] == "none" else ARGS["codec"], linger_ms=5)
    futures = [await p.send(ARGS["topic"], v.encode(), k.encode()) for k, v in lines()]
    await asyncio.gather(*futures)
    await p.stop()
    print("acked", len(futures))


async def consume():
    end = until_stdin_ends()
    c = await consumer(ARGS["topic"], group_id=ARGS["group"], isolation_level=ARGS.get("isolation", "read_uncommitted"))
    while not end.is_set():
        out = []
        for ms in (await c.getmany(timeout_ms=200)).values():
            out += [f"{m.partition}\t{m.offset}\t{m.key.decode()}\t{m.value.decode()}\n" for m in ms]
        sys.stdout.write("".join(out))
        sys.stdout.flush()
    await c.stop()


async def codecs():
    for codec in CODECS:
        t = await topic("codec-" + codec)
        sent = [f"{codec}-{i}" for i in range(500)]
        await send(t, sent, compression_type=None if codec == "none" else codec, linger_ms=20)
        expect(sent, await values(t), codec + " values")


async def idempotence():
    t = await topic("idempotent")
    sent = [str(i) for i in range(2000)]
    await send(t, sent, enable_idempotence=True, max_batch_size=200)
    expect(sent, await values(t), "values")


async def transactions():
    t = await topic("txn")
    p = await producer(transactional_id=PREFIX + "-txn")
    committed = []
    for n in range(6):
        await p.begin_transaction()
        for i in range(10):
            await p.send_and_wait(t, f"{n}-{i}".encode())
        if n % 3 == 1:
            await p.abort_transaction()
        else:
            await p.commit_transaction()
            committed += [f"{n}-{i}" for i in range(10)]
    await p.stop()
    await committed_are(committed, t)
    expect(60, len(await values(t)), "uncommitted values")


async def fencing():
    t = await topic("fence")
    zombie = await producer(transactional_id=PREFIX + "-fence")
    await zombie.begin_transaction()
    await zombie.send_and_wait(t, b"zombie")
    p = await producer(transactional_id=PREFIX + "-fence")
    await p.begin_transaction()
    await p.send_and_wait(t, b"alive")
    await p.commit_transaction()
    try:
        await zombie.commit_transaction()
        raise AssertionError("a fenced producer could commit")
    except ProducerFenced:
        pass
    await p.stop()
    await committed_are(["alive"], t)


async def times():
    t = await topic("times")
    p = await producer(compression_type="gzip", linger_ms=50)
    base = 1600000000000
    for f in [await p.send(t, str(i).encode(), timestamp_ms=base + i * 1000) for i in range(100)]:
        await f
    await p.stop()
    c = await consumer(enable_auto_commit=False)
    tp = TopicPartition(t, 0)
    expect(42, (await c.offsets_for_times({tp: base + 41001}))[tp].offset, "offset inside a compressed batch")
    expect(None, (await c.offsets_for_times({tp: base + 100000}))[tp], "offset of a time past the end")
    c.assign([tp])
    c.seek(tp, 42)
    expect(b"42", (await c.getone()).value, "first record at the offset")
    await c.stop()


async def admin():
    t = await topic("admin", 2)
    a = AIOKafkaAdminClient(bootstrap_servers=BOOTSTRAP)
    await a.start()
    try:
        r = await a.create_topics([NewTopic(t, 1, REPLICAS)])
        expect(TopicAlreadyExistsError.errno, r.topic_errors[0][1], "error of a second create")
    except TopicAlreadyExistsError:
        pass
    await a.create_partitions({t: NewPartitions(4)})
    await asyncio.to_thread(settled)
    for _ in range(100):
        d = await a.describe_topics([t])
        if len(d[0]["partitions"]) == 4:
            break
        await asyncio.sleep(0.05)
    expect(4, len(d[0]["partitions"]), "partitions")
    r = await a.describe_configs([ConfigResource(ConfigResourceType.TOPIC, t)])
    expect(True, any(e[0] == "retention.ms" for e in r[0].resources[0][4]), "retention.ms described")
    await a.list_consumer_groups()
    await a.describe_cluster()
    await a.delete_topics([t])
    await a.close()


async def large():
    t = await topic("large", **{"max.message.bytes": "10000000"})
    big = uuid.uuid4().bytes * 312500
    await send(t, [big], max_request_size=20000000)
    expect(True, (await read(t, max_partition_fetch_bytes=1000))[0].value == big, "the same bytes")


async def many():
    t = await topic("many", 200)
    p = await producer()
    for f in [await p.send(t, str(i).encode(), partition=i % 200) for i in range(2000)]:
        await f
    await p.stop()
    expect(2000, len({(m.partition, m.offset) for m in await read(t, partitions=200)}), "records")


async def regex():
    t1, t2 = f"{PREFIX}-regex-1", f"{PREFIX}-regex-22"
    await topic("regex-1")
    await topic("regex-no")
    await send(t1, ["one"])
    c = await consumer(group_id=PREFIX + "-regex")
    c.subscribe(pattern=f"^{PREFIX}-regex-[0-9]+$")
    seen = set()

    async def sees(t):
        while t not in seen:
            seen.update(tp.topic for tp in await c.getmany(timeout_ms=200))

    await sees(t1)
    await topic("regex-22")
    await send(t2, ["two"])
    await sees(t2)
    expect({t1, t2}, {tp.topic for tp in c.assignment()}, "topics assigned")
    await c.stop()


async def pause():
    t = await topic("pause", 2)
    p = await producer()
    for f in [await p.send(t, b"v", partition=i % 2) for i in range(200)]:
        await f
    await p.stop()
    c = await consumer(enable_auto_commit=False)
    tps = [TopicPartition(t, 0), TopicPartition(t, 1)]
    c.assign(tps)
    await c.seek_to_beginning(*tps)
    c.pause(tps[0])
    count = {0: 0, 1: 0}

    async def drain(n):
        while count[n] < 100:
            for tp, ms in (await c.getmany(timeout_ms=200)).items():
                count[tp.partition] += len(ms)

    await drain(1)
    expect({0: 0, 1: 100}, count, "records while partition 0 is paused")
    c.resume(tps[0])
    await drain(0)
    await c.stop()


async def group(**kv):
    static = "static" in kv
    name = "static" if static else "classic"
    t, g = await topic("group-" + name, 6), f"{PREFIX}-group-{name}"
    seen = set()

    async def member(i):
        c = await consumer(t, group_id=g, **({"group_instance_id": f"i{i}"} if static else {}))

        async def poll():
            while True:
                for ms in (await c.getmany(timeout_ms=100)).values():
                    seen.update((m.partition, m.offset) for m in ms)

        return c, asyncio.ensure_future(poll())

    async def balanced(*members):
        for _ in range(1500):
            own = [{tp.partition for tp in c.assignment()} for c, _ in members]
            if len(set().union(*own)) == 6 == sum(map(len, own)) and max(map(len, own)) == 6 // len(members):
                return
            await asyncio.sleep(0.02)
        raise AssertionError(f"6 partitions over {len(members)} members ended as {[len(o) for o in own]}")

    async def leave(c, task):
        task.cancel()
        try:
            await task
        except asyncio.CancelledError:
            pass
        await c.stop()

    a = await member(1)
    await balanced(a)
    b, c = await member(2), await member(3)
    await balanced(a, b, c)
    if not static:
        await leave(*b)
        await balanced(a, c)
    await send(t, [str(i) for i in range(600)])
    while len(seen) < 600:
        await asyncio.sleep(0.02)
    for m in (a, c) if not static else (a, b, c):
        await leave(*m)


async def smoke():
    await acheck("codecs", codecs)
    await acheck("idempotence", idempotence)
    await acheck("transactions", transactions)
    await acheck("transaction-fencing", fencing)
    await acheck("seek-by-time", times)
    await acheck("admin", admin)
    await acheck("large-messages", large)
    await acheck("many-partitions", many)
    await acheck("pause-resume", pause)
    await acheck("regex-subscription", regex)
    await acheck("group-classic", group)
    await acheck("group-static", lambda: group(static=True))
    finish()


asyncio.run({"produce": produce, "consume": consume, "smoke": smoke}[COMMAND]())
