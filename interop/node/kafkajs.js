// The driver of kafkajs.
import fs from 'node:fs'
import zlib from 'node:zlib'
import { promisify } from 'node:util'
import kafkajs from 'kafkajs'
import snappy from 'kafkajs-snappy'
import { lz4Compress, lz4Decompress } from '@platformatic/wasm-utils'
import { args, bootstrap, check, codecs, command, expect, fails, finish, lines, login, nodes, replicas, settled, sleep, stdinEnds, until } from './checks.js'

const { Kafka, Partitioners, CompressionTypes, CompressionCodecs, logLevel } = kafkajs
CompressionCodecs[CompressionTypes.Snappy] = snappy
CompressionCodecs[CompressionTypes.LZ4] = () => ({
  compress: async encoder => lz4Compress(encoder.buffer),
  decompress: async buffer => lz4Decompress(buffer)
})
CompressionCodecs[CompressionTypes.ZSTD] = () => ({
  compress: encoder => promisify(zlib.zstdCompress)(encoder.buffer),
  decompress: buffer => promisify(zlib.zstdDecompress)(buffer)
})
const codecOf = { none: CompressionTypes.None, gzip: CompressionTypes.GZIP, snappy: CompressionTypes.Snappy, lz4: CompressionTypes.LZ4, zstd: CompressionTypes.ZSTD }

// TLS_CA names who signed the broker's certificate, TLS_KEY a file with the client's key and certificate: then over TLS.
const ssl = process.env.TLS_CA
  ? { ca: fs.readFileSync(process.env.TLS_CA), key: fs.readFileSync(process.env.TLS_KEY), cert: fs.readFileSync(process.env.TLS_KEY) }
  : undefined
const kafka = new Kafka({ brokers: [bootstrap], ssl, logLevel: logLevel.NOTHING, ...login(m => m.toLowerCase()) })

async function producer (conf = {}) {
  const p = kafka.producer({ createPartitioner: Partitioners.DefaultPartitioner, ...conf })
  await p.connect()
  return p
}

async function withAdmin (body) {
  const a = kafka.admin()
  await a.connect()
  try { return await body(a) } finally { await a.disconnect() }
}

async function topic (name, numPartitions = 1, configEntries = []) {
  const t = `${args.prefix}-${name}`
  await withAdmin(async a => {
    // It would ask one node for the leaders, and fail where that has not heard of the topic.
    await a.createTopics({ topics: [{ topic: t, numPartitions, replicationFactor: replicas, configEntries }], waitForLeaders: false })
    await settled()
    await until(`${t} to be served`, async () => { try { return (await a.fetchTopicOffsets(t)).length === numPartitions } catch { return false } })
  })
  return t
}

async function send (t, values, conf = {}, codec = 'none') {
  const p = await producer(conf)
  await p.send({ topic: t, compression: codecOf[codec], messages: values.map(value => ({ value })) })
  await p.disconnect()
}

/** Runs a group of its own over a topic until n records came. */
async function read (t, n, conf = {}) {
  const c = kafka.consumer({ groupId: `${t}-read-${Math.random()}`, maxWaitTimeInMs: 200, ...conf })
  const out = []
  await c.connect()
  await c.subscribe({ topic: t, fromBeginning: true })
  await c.run({ eachMessage: async ({ message }) => { out.push(message) } })
  try { await until(`${n} records of ${t}`, () => out.length >= n) } finally { await c.disconnect() }
  return out.sort((a, b) => Number(a.offset) - Number(b.offset))
}

/**
 * KafkaJS lets it out when a group cannot join a transaction yet, the one before not being all done. That is what Apache
 * Kafka answers, and for longer the more nodes it has; logstead has such a request wait.
 */
async function sendOffsets (txn, offsets) {
  for (;;) {
    try { return await txn.sendOffsets(offsets) } catch (e) {
      if (process.env.TARGET !== 'kafka' || e.type !== 'CONCURRENT_TRANSACTIONS') throw e
    }
    await sleep(50)
  }
}

const strings = ms => ms.map(m => m.value.toString())
const numbers = n => Array.from({ length: n }, (x, i) => String(i))

async function produce () {
  const p = await producer()
  const rows = lines()
  for (let i = 0; i < rows.length; i += 1000) {
    await p.send({ topic: args.topic, acks: -1, compression: codecOf[args.codec], messages: rows.slice(i, i + 1000).map(([key, value]) => ({ key, value })) })
  }
  await p.disconnect()
  console.log('acked', rows.length)
}

async function consume () {
  const c = kafka.consumer({ groupId: args.group, readUncommitted: args.isolation !== 'read_committed', maxWaitTimeInMs: 200, heartbeatInterval: 500, rebalanceTimeout: 10_000 })
  await c.connect()
  await c.subscribe({ topic: args.topic, fromBeginning: true })
  await c.run({
    eachBatch: async ({ batch, resolveOffset }) => {
      process.stdout.write(batch.messages.map(m => `${batch.partition}\t${m.offset}\t${m.key}\t${m.value}\n`).join(''))
      resolveOffset(batch.lastOffset())
    }
  })
  await stdinEnds()
  await c.disconnect()
}

/** A member that says what it owns and saw. */
async function member (groupId, t, conf = {}) {
  const c = kafka.consumer({ groupId, heartbeatInterval: 500, rebalanceTimeout: 8_000, maxWaitTimeInMs: 200, metadataMaxAge: 1000, ...conf })
  const m = { c, own: [], seen: new Set() }
  c.on(c.events.GROUP_JOIN, e => { m.own = e.payload.memberAssignment[t] ?? [] })
  c.on(c.events.REBALANCING, () => { m.own = [] })
  await c.connect()
  await c.subscribe({ topic: t, fromBeginning: true })
  await c.run({ eachMessage: async ({ partition, message }) => { m.seen.add(`${partition}/${message.offset}`) } })
  m.close = () => c.disconnect()
  return m
}

const balanced = (n, ...ms) => until(`${n} partitions spread over ${ms.length} members`, () => {
  const all = ms.flatMap(m => m.own)
  return all.length === n && new Set(all).size === n && Math.max(...ms.map(m => m.own.length)) === Math.ceil(n / ms.length)
})

async function smoke () {
  await check('codecs', async () => {
    for (const codec of codecs) {
      const t = await topic(`codec-${codec}`)
      await send(t, numbers(500), {}, codec)
      expect(numbers(500), strings(await read(t, 500)), codec)
    }
  })
  await check('null-values-headers', async () => {
    const t = await topic('nulls')
    const p = await producer()
    await p.send({ topic: t, messages: [{ key: 'k', value: null }, { key: null, value: 'v', headers: { a: '1' }, timestamp: '1000000000000' }] })
    await p.disconnect()
    const got = await read(t, 2)
    expect([null, 'v'], got.map(m => m.value && m.value.toString()), 'values')
    expect('1', got[1].headers.a.toString(), 'header')
    expect('1000000000000', got[1].timestamp, 'timestamp')
  })
  await check('idempotence', async () => {
    const t = await topic('idempotent')
    const p = await producer({ idempotent: true, maxInFlightRequests: 1 })
    for (let i = 0; i < 50; i++) await p.send({ topic: t, messages: [{ value: `${i}` }] })
    await p.disconnect()
    expect(numbers(50), strings(await read(t, 50)), 'values')
  })
  await check('transactions', async () => {
    const t = await topic('txn')
    const p = await producer({ transactionalId: `${args.prefix}-txn`, idempotent: true, maxInFlightRequests: 1 })
    const committed = []
    for (let n = 0; n < 6; n++) {
      const txn = await p.transaction()
      const values = numbers(10).map(i => `${n}-${i}`)
      await txn.send({ topic: t, messages: values.map(value => ({ value })) })
      if (n % 3 === 1) await txn.abort()
      else { await txn.commit(); committed.push(...values) }
    }
    await p.disconnect()
    expect(committed, strings(await read(t, 40)), 'committed values')
    expect(60, (await read(t, 60, { readUncommitted: true })).length, 'uncommitted values')
  })
  await check('transaction-fencing', async () => {
    const t = await topic('fence')
    const conf = { transactionalId: `${args.prefix}-fence`, idempotent: true, maxInFlightRequests: 1, retry: { retries: 2 } }
    const zombie = await producer(conf)
    const old = await zombie.transaction()
    await old.send({ topic: t, messages: [{ value: 'zombie' }] })
    const p = await producer(conf)
    const txn = await p.transaction()
    await txn.send({ topic: t, messages: [{ value: 'alive' }] })
    await txn.commit()
    await fails(() => old.commit(), 'INVALID_PRODUCER_EPOCH', 'PRODUCER_FENCED')
    expect(['alive'], strings(await read(t, 1)), 'committed values')
    await p.disconnect()
    await zombie.disconnect()
  })
  await check('transaction-offsets', async () => {
    const t = await topic('txn-offsets')
    const group = `${args.prefix}-txn-group`
    const p = await producer({ transactionalId: `${args.prefix}-txn-offsets`, idempotent: true, maxInFlightRequests: 1 })
    const offsets = { consumerGroupId: group, topics: [{ topic: t, partitions: [{ partition: 0, offset: '7' }] }] }
    const stored = () => withAdmin(async a => (await a.fetchOffsets({ groupId: group, topics: [t] }))[0].partitions[0].offset)
    let txn = await p.transaction()
    await sendOffsets(txn, offsets)
    await txn.abort()
    expect('-1', await stored(), 'offset after an abort')
    txn = await p.transaction()
    await sendOffsets(txn, offsets)
    await txn.commit()
    await until('the committed offset', async () => await stored() === '7')
    await p.disconnect()
  })
  await check('seek-by-time', async () => {
    const t = await topic('times')
    const p = await producer()
    await p.send({ topic: t, compression: codecOf.gzip, messages: numbers(100).map(i => ({ value: i, timestamp: String(1600000000000 + i * 1000) })) })
    await p.disconnect()
    await withAdmin(async a => {
      expect('42', (await a.fetchTopicOffsetsByTimestamp(t, 1600000041001))[0].offset, 'offset inside a compressed batch')
      expect('100', (await a.fetchTopicOffsets(t))[0].high, 'high watermark')
    })
  })
  await check('admin', async () => {
    const t = await topic('admin', 2)
    await withAdmin(async a => {
      expect(false, await a.createTopics({ topics: [{ topic: t }] }), 'create again')
      await a.createPartitions({ topicPartitions: [{ topic: t, count: 4 }] })
      await settled()
      await until('4 partitions', async () => (await a.fetchTopicMetadata({ topics: [t] })).topics[0].partitions.length === 4)
      await a.alterConfigs({ validateOnly: false, resources: [{ type: 2, name: t, configEntries: [{ name: 'max.message.bytes', value: '2000000' }] }] })
      await settled()
      const d = await a.describeConfigs({ includeSynonyms: true, resources: [{ type: 2, name: t, configNames: ['max.message.bytes'] }] })
      expect('2000000', d.resources[0].configEntries[0].configValue, 'max.message.bytes')
      const p = await producer()
      await p.send({ topic: t, messages: numbers(100).map(value => ({ value, partition: 0 })) })
      await p.disconnect()
      await a.deleteTopicRecords({ topic: t, partitions: [{ partition: 0, offset: '60' }] })
      expect('60', (await a.fetchTopicOffsets(t)).find(o => o.partition === 0).low, 'low watermark')
      const groupId = `${args.prefix}-admin`
      await a.setOffsets({ groupId, topic: t, partitions: [{ partition: 0, offset: '70' }] })
      expect('70', (await a.fetchOffsets({ groupId, topics: [t] }))[0].partitions[0].offset, 'group offset')
      expect(true, (await a.listGroups()).groups.some(g => g.groupId === groupId), 'group listed')
      await a.deleteGroups([groupId])
      expect(nodes, (await a.describeCluster()).brokers.length, 'brokers')
      await a.deleteTopics({ topics: [t] })
    })
    await settled()
    await withAdmin(a => fails(() => a.fetchTopicMetadata({ topics: [t] }), 'UNKNOWN_TOPIC', 'not host this topic'))
  })
  await check('large-messages', async () => {
    const t = await topic('large', 1, [{ name: 'max.message.bytes', value: '10000000' }])
    await send(t, [Buffer.alloc(5_000_000, 'abcdefg')])
    expect(5_000_000, (await read(t, 1, { maxBytesPerPartition: 1000, maxBytes: 1000 }))[0].value.length, 'size')
  })
  await check('many-partitions', async () => {
    const t = await topic('many', 200)
    const p = await producer()
    await p.send({ topic: t, messages: numbers(2000).map((value, i) => ({ value, partition: i % 200 })) })
    await p.disconnect()
    expect(2000, new Set(strings(await read(t, 2000))).size, 'records')
  })
  await check('pause-resume', async () => {
    const t = await topic('pause', 2)
    const p = await producer()
    await p.send({ topic: t, messages: numbers(200).map(value => ({ value, partition: value % 2 })) })
    await p.disconnect()
    const c = kafka.consumer({ groupId: `${args.prefix}-pause`, maxWaitTimeInMs: 200 })
    const count = [0, 0]
    await c.connect()
    await c.subscribe({ topic: t, fromBeginning: true })
    c.on(c.events.GROUP_JOIN, () => c.pause([{ topic: t, partitions: [0] }]))
    await c.run({ eachMessage: async ({ partition }) => { count[partition]++ } })
    await until('partition 1', () => count[1] === 100)
    expect([0, 100], count, 'records while partition 0 is paused')
    c.resume([{ topic: t, partitions: [0] }])
    await until('partition 0', () => count[0] === 100)
    await c.disconnect()
  })
  await check('regex-subscription', async () => {
    const t1 = await topic('regex-1')
    await topic('regex-no')
    await send(t1, ['one'])
    const seen = new Set()
    const c = kafka.consumer({ groupId: `${args.prefix}-regex`, maxWaitTimeInMs: 200 })
    await c.connect()
    await c.subscribe({ topic: new RegExp(`^${args.prefix}-regex-[0-9]+$`), fromBeginning: true })
    await c.run({ eachMessage: async ({ topic }) => { seen.add(topic) } })
    await until('the first topic', () => seen.has(t1))
    await c.disconnect()
  })
  await check('group-classic', async () => {
    const t = await topic('group', 6)
    const g = `${args.prefix}-group`
    await send(t, numbers(600))
    const a = await member(g, t)
    await balanced(6, a)
    const [b, c] = [await member(g, t), await member(g, t)]
    await balanced(6, a, b, c)
    await b.close()
    await balanced(6, a, c)
    await until('600 records', () => new Set([a, b, c].flatMap(m => [...m.seen])).size === 600)
    await withAdmin(async x => expect(2, (await x.describeGroups([g])).groups[0].members.length, 'members'))
    await a.close()
    await c.close()
  })
  finish()
}

await ({ produce, consume, smoke }[command])()
