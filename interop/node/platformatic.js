// The driver of @platformatic/kafka.
import { Admin, Consumer, Producer, stringDeserializers, stringSerializers } from '@platformatic/kafka'
import { args, bootstrap, check, codecs, command, expect, fails, finish, lines, murmur2, stdinEnds, until } from './checks.js'

const base = { clientId: 'interop', bootstrapBrokers: [bootstrap], metadataMaxAge: 1000 }
const open = new Set()

function kept (client) {
  open.add(client)
  return client
}

const producer = (conf = {}) => kept(new Producer({ ...base, serializers: stringSerializers, autocreateTopics: false, ...conf }))
const consumer = (groupId, conf = {}) => kept(new Consumer({
  ...base, groupId, deserializers: stringDeserializers, maxWaitTime: 200, heartbeatInterval: 500, sessionTimeout: 10_000, rebalanceTimeout: 10_000, autocommit: 200, ...conf
}))
const admin = kept(new Admin(base))

async function topic (name, partitions = 1, configs = []) {
  const t = `${args.prefix}-${name}`
  await admin.createTopics({ topics: [t], partitions, replicas: 1, configs })
  await until(`${t} to be served`, async () => {
    try {
      const all = Array.from({ length: partitions }, (x, i) => ({ partitionIndex: i, timestamp: -1n }))
      return (await admin.listOffsets({ topics: [{ name: t, partitions: all }] }))[0].partitions.length === partitions
    } catch { return false }
  })
  return t
}

const numbers = n => Array.from({ length: n }, (x, i) => String(i))

// The client's own default is acks 1, which says nothing of when a record can be read, and it obeys acks in send() only.
async function send (t, values, conf = {}) {
  const p = producer()
  await p.send({ acks: -1, messages: values.map(value => ({ topic: t, value })), ...conf })
  await p.close()
}

async function read (t, n, conf = {}) {
  const c = consumer(`${t}-read-${Math.random()}`)
  const stream = await c.consume({ topics: [t], mode: 'earliest', ...conf })
  const out = []
  stream.on('data', m => out.push(m))
  try { await until(`${n} records of ${t}`, () => out.length >= n) } finally { await c.close(true) }
  return out.sort((a, b) => Number(a.offset - b.offset))
}

const values = async (...a) => (await read(...a)).map(m => m.value)

async function produce () {
  const p = producer({ partitioner: (m, key, { metadata }) => murmur2(key) % metadata.topics.get(m.topic).partitionsCount })
  const rows = lines()
  await admin.metadata({ topics: [args.topic] })
  for (let i = 0; i < rows.length; i += 1000) {
    await p.send({ acks: -1, compression: args.codec, messages: rows.slice(i, i + 1000).map(([key, value]) => ({ topic: args.topic, key, value })) })
  }
  await p.close()
  await admin.close()
  console.log('acked', rows.length)
}

async function consume () {
  const c = consumer(args.group, args.protocol === 'consumer' ? { groupProtocol: 'consumer', rebalanceTimeout: 60_000 } : {})
  const stream = await c.consume({ topics: [args.topic], mode: 'committed', fallbackMode: 'earliest', isolationLevel: args.isolation === 'read_committed' ? 1 : 0 })
  stream.on('data', m => process.stdout.write(`${m.partition}\t${m.offset}\t${m.key}\t${m.value}\n`))
  await stdinEnds()
  await c.close(true)
  process.exit(0)
}

async function member (group, t, conf) {
  const c = consumer(group, conf)
  const m = { seen: new Set() }
  const stream = await c.consume({ topics: [t], mode: 'committed', fallbackMode: 'earliest' })
  stream.on('data', r => m.seen.add(`${r.partition}/${r.offset}`))
  stream.on('error', e => { m.error = e })
  Object.defineProperty(m, 'own', { get: () => (c.assignments ?? []).filter(a => a.topic === t).flatMap(a => a.partitions) })
  m.close = () => c.close(true)
  return m
}

const balanced = (n, ...ms) => until(`${n} partitions spread over ${ms.length} members`, () => {
  for (const m of ms) if (m.error) throw m.error
  const all = ms.flatMap(m => m.own)
  return all.length === n && new Set(all).size === n && Math.max(...ms.map(m => m.own.length)) === Math.ceil(n / ms.length)
})

async function group (name, conf) {
  const t = await topic(`group-${name}`, 6)
  const g = `${args.prefix}-group-${name}`
  await send(t, numbers(600))
  const a = await member(g, t, conf)
  await balanced(6, a)
  const [b, c] = [await member(g, t, conf), await member(g, t, conf)]
  await balanced(6, a, b, c)
  await b.close()
  await balanced(6, a, c)
  await until('600 records', () => new Set([a, b, c].flatMap(m => [...m.seen])).size === 600)
  await a.close()
  await c.close()
}

async function smoke () {
  await check('codecs', async () => {
    for (const codec of codecs) {
      const t = await topic(`codec-${codec}`)
      await send(t, numbers(500), { compression: codec })
      expect(numbers(500), await values(t, 500), codec)
    }
  })
  await check('idempotence', async () => {
    const t = await topic('idempotent')
    const p = producer({ idempotent: true })
    for (let i = 0; i < 50; i++) await p.send({ messages: [{ topic: t, value: String(i) }] })
    await p.close()
    expect(numbers(50), await values(t, 50), 'values')
  })
  await check('transactions', async () => {
    const t = await topic('txn')
    const p = producer({ transactionalId: `${args.prefix}-txn`, idempotent: true })
    const committed = []
    // This client remembers one aborted range for each producer and fetch, so there is one.
    for (let n = 0; n < 6; n++) {
      const txn = await p.beginTransaction()
      const batch = numbers(10).map(i => `${n}-${i}`)
      await txn.send({ messages: batch.map(value => ({ topic: t, value })) })
      if (n === 1) await txn.abort()
      else { await txn.commit(); committed.push(...batch) }
    }
    await p.close()
    expect(committed, await values(t, 50, { isolationLevel: 1 }), 'committed values')
    expect(60, (await read(t, 60, { isolationLevel: 0 })).length, 'uncommitted values')
  })
  await check('seek-by-time', async () => {
    const t = await topic('times')
    const p = producer()
    await p.send({ acks: -1, compression: 'gzip', messages: numbers(100).map(i => ({ topic: t, value: i, timestamp: BigInt(1600000000000 + i * 1000) })) })
    await p.close()
    const got = await admin.listOffsets({ topics: [{ name: t, partitions: [{ partitionIndex: 0, timestamp: 1600000041001n }] }] })
    expect(42n, got[0].partitions[0].offset, 'offset inside a compressed batch')
  })
  await check('admin', async () => {
    const t = await topic('admin', 2)
    await fails(() => admin.createTopics({ topics: [t], partitions: 1, replicas: 1 }), 'TOPIC_ALREADY_EXISTS', 'already exists')
    await admin.createPartitions({ topics: [{ name: t, count: 4, assignments: null }] })
    await until('4 partitions', async () => (await admin.metadata({ topics: [t], forceUpdate: true })).topics.get(t).partitionsCount === 4)
    await admin.incrementalAlterConfigs({ resources: [{ resourceType: 2, resourceName: t, configs: [{ name: 'max.message.bytes', configOperation: 0, value: '2000000' }] }] })
    const d = await admin.describeConfigs({ resources: [{ resourceType: 2, resourceName: t, configurationKeys: ['max.message.bytes'] }] })
    expect('2000000', d[0].configs[0].value, 'max.message.bytes')
    await admin.listGroups()
    await admin.describeLogDirs({ topics: [{ name: t, partitions: [0] }] })
    await admin.deleteTopics({ topics: [t] })
    expect(false, (await admin.listTopics()).includes(t), 'a deleted topic listed')
  })
  await check('large-messages', async () => {
    const t = await topic('large', 1, [{ name: 'max.message.bytes', value: '10000000' }])
    await send(t, ['abcdefg'.repeat(700_000)])
    expect(4_900_000, (await read(t, 1, { maxBytes: 1000, maxBytesPerPartition: 1000 }))[0].value.length, 'size')
  })
  await check('group-classic', () => group('classic'))
  await check('group-kip848', () => group('kip848', { groupProtocol: 'consumer', rebalanceTimeout: 60_000 }))
  finish()
}

await ({ produce, consume, smoke }[command])()
