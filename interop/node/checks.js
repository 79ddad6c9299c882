// What the Node.js drivers share: the command line, the checks' frame, and the reading of standard input.
import { readFileSync } from 'node:fs'
import { connect } from 'node:net'

export const bootstrap = process.env.BOOTSTRAP
export const nodes = Number(process.env.NODES ?? 1)
export const replicas = Number(process.env.REPLICAS ?? 1)
export const command = process.argv[2]
export const args = Object.fromEntries(process.argv.slice(3).map(a => [a.slice(0, a.indexOf('=')), a.slice(a.indexOf('=') + 1)]))
export const codecs = ['none', 'gzip', 'snappy', 'lz4', 'zstd']
const limit = 60_000

/** How to log in, where the environment says so. */
export function login (mechanism = m => m) {
  const { SASL_MECHANISM, SASL_USER, SASL_PASSWORD } = process.env
  return SASL_MECHANISM ? { sasl: { mechanism: mechanism(SASL_MECHANISM), username: SASL_USER, password: SASL_PASSWORD } } : {}
}

let failed = false

/** The slice of the input file that the command names, as [key, value]. */
export function lines () {
  const rows = readFileSync(args.file, 'utf8').split('\n').filter(l => l).map(l => [l.slice(0, l.indexOf('\t')), l.slice(l.indexOf('\t') + 1)])
  const from = Number(args.from ?? 0)
  return rows.slice(from, from + Number(args.count ?? rows.length))
}

export function stdinEnds () {
  return new Promise(resolve => { process.stdin.resume().on('end', resolve) })
}

export const sleep = ms => new Promise(resolve => setTimeout(resolve, ms))

export async function check (name, body) {
  if (args.only && args.only !== name) return
  const start = performance.now()
  let error
  let timer
  try {
    await Promise.race([body(), new Promise((resolve, reject) => { timer = setTimeout(() => reject(new Error('no end within 60 s')), limit) })])
  } catch (e) {
    const at = /\/(?:kafkajs|platformatic)\.js:(\d+)/.exec(e.stack ?? '')
    error = `${e.name}: ${e.message}${at ? ` at line ${at[1]}` : ''}`
    for (const c of [e.cause, ...(e.errors ?? [])]) if (c) error += ` <- ${c.message} ${(c.errors ?? []).map(x => x.message).join('; ')}`
  }
  clearTimeout(timer)
  const took = ((performance.now() - start) / 1000).toFixed(1)
  if (error) {
    failed = true
    console.log(`FAIL\t${name}\t${took}\t${error.replace(/[\n\t]/g, ' ')}`)
  } else {
    console.log(`PASS\t${name}\t${took}`)
  }
}

export function finish () { process.exit(failed ? 1 : 0) }

export function expect (want, got, what) {
  const [w, g] = [want, got].map(v => JSON.stringify(v, (k, x) => typeof x === 'bigint' ? String(x) : x))
  if (w !== g) throw new Error(`${what}: expected ${w?.slice(0, 300)}, got ${g?.slice(0, 300)}`)
}

/** Runs body, which must fail with an error whose text, or a cause's, mentions one of the words. */
export async function fails (body, ...words) {
  let text
  try {
    await body()
  } catch (e) {
    const all = []
    for (const queue = [e]; queue.length;) {
      const x = queue.shift()
      all.push(`${x.name} ${x.type ?? ''} ${x.apiId ?? ''} ${x.message}`)
      queue.push(...[x.cause, ...(x.errors ?? [])].filter(Boolean))
    }
    text = all.join(' <- ')
    if (words.some(w => text.includes(w))) return
  }
  throw new Error(`expected an error with one of ${words}, got ${text ?? 'no error'}`)
}

/** Returns when every broker has acted on what was decided, see interop/drivers.go. */
export async function settled () {
  const at = process.env.SETTLE
  if (!at) return
  const colon = at.lastIndexOf(':')
  let problem = ''
  for await (const part of connect(Number(at.slice(colon + 1)), at.slice(0, colon)).setEncoding('utf8')) problem += part
  if (problem !== '\n') throw new Error(`the brokers do not settle: ${problem}`)
}

export async function until (what, done, ms = 40_000) {
  for (const end = performance.now() + ms; !(await done()); await sleep(20)) {
    if (performance.now() > end) throw new Error(`gave up waiting for ${what}`)
  }
}

/** The hash by which Java's partitioner spreads keys. */
export function murmur2 (key) {
  const m = 0x5bd1e995
  let h = 0x9747b28c ^ key.length
  let i = 0
  for (; i + 4 <= key.length; i += 4) {
    let k = key.readInt32LE(i)
    k = Math.imul(k, m)
    k ^= k >>> 24
    h = Math.imul(h, m) ^ Math.imul(k, m)
  }
  const rest = key.length - i
  for (let j = rest - 1; j >= 0; j--) h ^= key[i + j] << (8 * j)
  if (rest > 0) h = Math.imul(h, m)
  h ^= h >>> 13
  h = Math.imul(h, m)
  return (h ^ h >>> 15) & 0x7fffffff
}
