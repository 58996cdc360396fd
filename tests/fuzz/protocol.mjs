// The embedded server's parser of the wire protocol, fed with garbage:
//
//   node protocol.mjs INPUTS SEED
//
// Whatever the bytes and however they are cut, the Framer gives the same messages, raises ProtocolError alone, ends, and
// gives back every byte that it took. Prints how many inputs it was; exits with 1 and the input where one breaks a rule.

import { Framer, MAX_MESSAGE, MAX_STARTUP, ProtocolError, withoutCopy } from '../../src/fleetwatt/embedded/protocol.mjs'

const [inputs, seed] = process.argv.slice(2).map(Number)

// mulberry32: the same numbers for the same seed.
let state = seed
function random() {
  state = (state + 0x6d2b79f5) | 0
  let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
  mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
  return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
}
const below = (limit) => Math.floor(random() * limit)
const pick = (choices) => choices[below(choices.length)]
const garbage = (length) => Buffer.from(Array.from({ length }, () => below(256)))

const TYPES = [...'PBDECHFQSXdcfp', '\0', 'ÿ']
const LENGTHS = [-1, 0, 3, 4, 5, 8, MAX_STARTUP, MAX_STARTUP + 1, MAX_MESSAGE, MAX_MESSAGE + 1, 0x7fffffff, -0x80000000]
const CODES = [3 << 16, (3 << 16) | 2, 2 << 16, 80877102, 80877103, 80877104, 0, -1]
const WORDS = ['copy', 'COPY t', 'from', 'FROM STDIN', 'stdout', ';', '(', ')', "'", '"', '$', '$$', '$a$', '/*', '*/', '--', '\n', "e'", '\\', '\0', 'é', ' ', 'x']

const sql = () => Array.from({ length: below(12) }, () => pick(WORDS)).join(pick(['', ' ']))

function framed(body, head = '') {
  const bytes = Buffer.concat([Buffer.from(head, 'latin1'), Buffer.alloc(4), body])
  bytes.writeInt32BE(random() < 0.04 ? pick(LENGTHS) : body.length + 4, head.length)
  return bytes
}

function startup() {
  const code = Buffer.alloc(4)
  code.writeInt32BE(random() < 0.8 ? 3 << 16 : pick(CODES))
  return framed(Buffer.concat([code, pick([Buffer.from('user\0postgres\0\0'), garbage(below(20)), Buffer.alloc(0)])]))
}

function message() {
  const text = Buffer.from(sql() + pick(['\0', '\0', '\0\0\0', '']))
  return framed(pick([text, Buffer.concat([Buffer.from(pick(['\0', 's\0'])), text]), garbage(below(30))]), pick(TYPES))
}

function stream() {
  if (random() < 0.1) return garbage(below(60))
  const parts = Array.from({ length: below(3) }, () => framed(Buffer.from('04d2162f', 'hex')))
  if (random() < 0.95) parts.push(startup())
  for (let count = below(6); count; count--) parts.push(message())
  const bytes = Buffer.concat(parts)
  if (bytes.length && random() < 0.3) bytes[below(bytes.length)] = below(256)
  return bytes.subarray(0, random() < 0.3 ? below(bytes.length + 1) : bytes.length)
}

function cuts(bytes) {
  const chunks = []
  const most = pick([1, 2, 5, 20, bytes.length || 1])
  for (let at = 0; at < bytes.length; ) {
    const end = Math.min(at + below(most + 1), bytes.length) // empty ones, too
    chunks.push(bytes.subarray(at, end))
    at = end
  }
  return chunks
}

class Violation extends Error {}

// What a session would see of these chunks: messages, and the error that ends it.
function seen(chunks) {
  const framer = new Framer()
  const found = []
  try {
    for (const chunk of chunks) {
      framer.push(chunk)
      for (let next; (next = framer.next()); ) {
        if (!next.bytes.length) throw new Violation('a message without bytes')
        found.push(next)
      }
    }
  } catch (error) {
    if (!(error instanceof ProtocolError)) throw error
    return { found, error: error.message }
  }
  return { found, error: null }
}

function check(bytes) {
  const whole = seen([bytes])
  const cut = seen(cuts(bytes))
  const shown = ({ found, error }) => JSON.stringify([error, found.map(({ type, bytes }) => [type, bytes.toString('latin1')])])
  if (shown(whole) !== shown(cut)) throw new Violation(`whole ${shown(whole)}, cut ${shown(cut)}`)
  const taken = Buffer.concat(whole.found.map((each) => each.bytes))
  if (!bytes.subarray(0, taken.length).equals(taken)) throw new Violation('messages are not the bytes that came')
  for (const each of whole.found) {
    const passed = withoutCopy(each)
    if (passed !== each.bytes && passed.readInt32BE(1) !== passed.length - 1) throw new Violation('a refusal of the wrong length')
  }
  return whole
}

const counts = { messages: 0, errors: 0 }
for (let number = 0; number < inputs; number++) {
  const bytes = stream()
  try {
    const { found, error } = check(bytes)
    counts.messages += found.length
    counts.errors += error !== null
  } catch (error) {
    console.log(`input ${number} of seed ${seed}: ${bytes.toString('hex')}\n${error.stack}`)
    process.exit(1)
  }
}

// A megabyte of each: whoever looks at any of it more than a few times doesn't end today.
const UNITS = [...WORDS, 'U&\'', "''", "\\'", '$a', '$a$ ', "'\n", "'--\n", '-- ', '--\n', '/* ', "e''", "e'\\"]
for (const head of ['', "e'", "e''\n", '$a$', '"', '/*']) {
  for (const unit of UNITS) {
    const text = `${head}${unit.repeat(1e6 / unit.length)} copy from stdin`
    withoutCopy({ type: 'Q', bytes: framed(Buffer.from(text + '\0'), 'Q') })
  }
}
console.log(`${inputs.toLocaleString('en')} inputs of seed ${seed}: ${counts.messages.toLocaleString('en')} messages, ${counts.errors.toLocaleString('en')} protocol errors`)
