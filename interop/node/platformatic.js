// The driver of @platformatic/kafka.
import { spawn } from 'node:child_process'
import { Admin, Consumer, Producer, stringDeserializers, stringSerializers } from '@platformatic/kafka'
import { args, bootstrap, check, codecs, command, expect, fails, finish, lines, login, murmur2, replicas, settled, stdinEnds, until } from './checks.js'

const base = { clientId: 'interop', bootstrapBrokers: [bootstrap], metadataMaxAge: 1000, ...login() }
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
/** What makes a member join by the consumer protocol. */
const asked = { groupProtocol: 'consumer', rebalanceTimeout: 60_000 }

async function topic (name, partitions = 1, configs = []) {
  const t = `${args.prefix}-${name}`
  await admin.createTopics({ topics: [t], partitions, replicas, configs })
  await settled()
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
  await p.metadata({ topics: [args.topic] })
  for (let i = 0; i < rows.length; i += 1000) {
    await p.send({ acks: -1, compression: args.codec, messages: rows.slice(i, i + 1000).map(([key, value]) => ({ topic: args.topic, key, value })) })
  }
  await p.close()
  await admin.close()
  console.log('acked', rows.length)
}

async function consume () {
  const c = consumer(args.group, { ...(args.protocol === 'consumer' ? asked : {}), ...(args.instance ? { groupInstanceId: args.instance } : {}) })
  const stream = await c.consume({ topics: [args.topic], mode: 'committed', fallbackMode: 'earliest', isolationLevel: args.isolation === 'read_committed' ? 1 : 0 })
  stream.on('data', m => process.stdout.write(`${m.partition}\t${m.offset}\t${m.key}\t${m.value}\n`))
  await stdinEnds()
  await c.close(true)
  process.exit(0)
}

async function member (group, t, conf) {
  const c = consumer(group, conf)
  const m = { c, seen: new Set(), joins: 0 }
  c.on('consumer:group:join', () => m.joins++)
  c.on('error', e => { m.error = e })
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

/**
 * A static member that is killed and started again gets what it held, and the others keep still. It is a process of its
 * own: the client leaves the group when it is closed, and one that is fenced joins anew, so that twins would fence each
 * other for ever.
 */
async function staticMembers () {
  const t = await topic('static', 4)
  const g = `${args.prefix}-static`
  const members = async () => Array.from((await admin.describeGroups({ groups: [g] })).get(g).members.values())
  const two = async () => (await members()).find(m => m.groupInstanceId === 'two')
  const start = () => spawn(process.execPath, [process.argv[1], 'consume', `topic=${t}`, `group=${g}`, 'instance=two'], { stdio: ['pipe', 'pipe', 'inherit'] })
  const a = await member(g, t, { groupInstanceId: 'one' })
  await balanced(4, a)
  let child = start()
  try {
    await until('half of the partitions for the second member', async () => a.own.length === 2 && (await two())?.assignments?.get(t)?.partitions.length === 2)
    const [joins, before] = [a.joins, await two()]
    child.kill('SIGKILL')
    child = start()
    await until('the restarted member', async () => (await two())?.id !== before.id)
    await send(t, numbers(100))
    const seen = new Set()
    child.stdout.setEncoding('utf8').on('data', lines => lines.split('\n').filter(Boolean).forEach(l => seen.add(Number(l.split('\t')[0]))))
    await until('records in both partitions of the restarted member', () => seen.size === 2)
    const held = before.assignments.get(t).partitions.toSorted()
    expect(held, [...seen].toSorted(), 'partitions after the restart of a static member')
    expect(held, (await two()).assignments.get(t).partitions.toSorted(), 'its assignment')
    expect(joins, a.joins, 'rebalances of the other member')
  } finally {
    child.kill('SIGKILL')
  }
  await admin.removeMembersFromConsumerGroup({ groupId: g, members: [{ memberId: (await two()).id, reason: 'the check is over' }] })
  await balanced(4, a)
  await a.close()
}

/**
 * An empty group changes its protocol and keeps its offsets. While it has members this client cannot take part: as a
 * classic member of a group that has changed it asks for offsets in epoch -1, which the broker refuses.
 */
async function migration () {
  const t = await topic('migrate', 6)
  const g = `${args.prefix}-migrate`
  let sent = 0
  for (const conf of [{}, asked, {}]) {
    const m = await member(g, t, conf)
    await balanced(6, m)
    await send(t, numbers(300))
    await until(`the records from ${sent} on`, () => m.seen.size >= 300)
    expect(300, m.seen.size, `records seen after ${sent} were committed`)
    sent += 300
    await until(`the commit of ${sent}`, async () => {
      const all = await m.c.listCommittedOffsets({ topics: [{ topic: t, partitions: [0, 1, 2, 3, 4, 5] }] })
      return all.get(t).reduce((sum, o) => sum + (o > 0n ? o : 0n), 0n) === BigInt(sent)
    })
    await m.close()
  }
}

/** A paused stream brings nothing while its member stays in the group, and goes on where it stopped. */
async function pause () {
  const t = await topic('pause', 2)
  await send(t, numbers(10))
  const c = consumer(`${args.prefix}-pause`)
  const stream = await c.consume({ topics: [t], mode: 'committed', fallbackMode: 'earliest' })
  const got = []
  stream.on('data', m => got.push(m.value))
  await until('10 records', () => got.length === 10)
  stream.pause()
  let beats = 0
  c.on('consumer:heartbeat:end', () => beats++)
  await send(t, numbers(100))
  await until('two heartbeats', () => beats >= 2)
  expect(10, got.length, 'records while the stream is paused')
  stream.resume()
  await until('110 records', () => got.length === 110)
  await c.close(true)
}

async function fencing () {
  const t = await topic('fence')
  // The client asks for producer id 0 by default, as one that it had before; -1 asks as a new producer does.
  const conf = { transactionalId: `${args.prefix}-fence`, idempotent: true, producerId: -1n, producerEpoch: -1 }
  const [zombie, alive] = [producer(conf), producer(conf)]
  const old = await zombie.beginTransaction()
  await old.send({ messages: [{ topic: t, value: 'zombie' }] })
  const txn = await alive.beginTransaction()
  await txn.send({ messages: [{ topic: t, value: 'alive' }] })
  await txn.commit()
  await fails(() => old.commit(), 'INVALID_PRODUCER_EPOCH', 'PRODUCER_FENCED')
  expect(['alive'], await values(t, 1, { isolationLevel: 1 }), 'committed values')
  await alive.close()
  await zombie.close(true)
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
  await check('transaction-fencing', fencing)
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
    await fails(() => admin.createTopics({ topics: [t], partitions: 1, replicas }), 'TOPIC_ALREADY_EXISTS', 'already exists')
    await admin.createPartitions({ topics: [{ name: t, count: 4, assignments: null }] })
    await settled()
    await until('4 partitions', async () => (await admin.metadata({ topics: [t], forceUpdate: true })).topics.get(t).partitionsCount === 4)
    await admin.incrementalAlterConfigs({ resources: [{ resourceType: 2, resourceName: t, configs: [{ name: 'max.message.bytes', configOperation: 0, value: '2000000' }] }] })
    await settled()
    const d = await admin.describeConfigs({ resources: [{ resourceType: 2, resourceName: t, configurationKeys: ['max.message.bytes'] }] })
    expect('2000000', d[0].configs[0].value, 'max.message.bytes')
    await admin.listGroups()
    await admin.describeLogDirs({ topics: [{ name: t, partitions: [0] }] })
    await admin.deleteTopics({ topics: [t] })
    await settled()
    expect(false, (await admin.listTopics()).includes(t), 'a deleted topic listed')
  })
  await check('large-messages', async () => {
    const t = await topic('large', 1, [{ name: 'max.message.bytes', value: '10000000' }])
    await send(t, ['abcdefg'.repeat(700_000)])
    expect(4_900_000, (await read(t, 1, { maxBytes: 1000, maxBytesPerPartition: 1000 }))[0].value.length, 'size')
  })
  await check('many-partitions', async () => {
    const t = await topic('many', 200)
    const p = producer()
    await p.send({ acks: -1, messages: numbers(2000).map((value, i) => ({ topic: t, value, partition: i % 200 })) })
    await p.close()
    expect(2000, new Set(await values(t, 2000)).size, 'records')
  })
  await check('pause-resume', pause)
  await check('group-classic', () => group('classic'))
  await check('group-cooperative', () => group('cooperative', { protocols: [{ name: 'cooperative-sticky', version: 1 }] }))
  await check('group-static', staticMembers)
  await check('group-kip848', () => group('kip848', asked))
  await check('group-offline-migration', migration)
  finish()
}

await ({ produce, consume, smoke }[command])()
