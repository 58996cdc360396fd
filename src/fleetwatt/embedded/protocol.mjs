// PostgreSQL's wire protocol 3.0, as far as a server needs it that lets a real backend do the work:
// https://www.postgresql.org/docs/17/protocol-message-formats.html

export const MAX_MESSAGE = 64 * 1024 * 1024
export const MAX_STARTUP = 10_000
const PROTOCOL_3 = 3 << 16
const REQUESTS = new Map([[80877103, 'ssl'], [80877104, 'gssenc'], [80877102, 'cancel']])

export class ProtocolError extends Error {}

// Cuts a stream of bytes into messages. Before the start-up packet a message has no type byte.
export class Framer {
  #chunks = Buffer.alloc(0)
  #later = [] // joined when a whole message is there: joining each would copy a large one thousands of times
  #missing = 0
  #started = false

  push(chunk) {
    this.#later.push(chunk)
    this.#missing -= chunk.length
  }

  // Returns {type, bytes} or null where a whole message has not arrived yet.
  next() {
    if (this.#missing > 0) return null
    if (this.#later.length) this.#chunks = Buffer.concat([this.#chunks, ...this.#later.splice(0)])
    const head = this.#started ? 1 : 0
    if (this.#chunks.length < head + 4) return null
    const length = this.#chunks.readInt32BE(head)
    const limit = this.#started ? MAX_MESSAGE : MAX_STARTUP
    if (length < 4 || length > limit) throw new ProtocolError(`invalid message length ${length}`)
    const end = head + length
    this.#missing = Math.max(end - this.#chunks.length, 0)
    if (this.#missing) return null
    const bytes = this.#chunks.subarray(0, end)
    this.#chunks = this.#chunks.subarray(end)
    return this.#started ? { type: String.fromCharCode(bytes[0]), bytes } : this.#startup(bytes)
  }

  #startup(bytes) {
    const code = bytes.length >= 8 ? bytes.readInt32BE(4) : 0
    if (REQUESTS.has(code)) return { type: REQUESTS.get(code), bytes }
    if (code >> 16 !== PROTOCOL_3 >> 16) throw new ProtocolError('unsupported protocol version')
    this.#started = true
    return { type: 'startup', bytes }
  }
}

function message(type, ...parts) {
  const body = Buffer.concat(parts.map((part) => (typeof part === 'string' ? Buffer.from(part + '\0') : part)))
  const head = Buffer.alloc(5)
  head.write(type, 0)
  head.writeInt32BE(body.length + 4, 1)
  return Buffer.concat([head, body])
}

export const query = (sql) => message('Q', sql)
export const sync = () => message('S')
export const readyForQuery = (status) => message('Z', Buffer.from(status))

export function errorResponse(severity, code, text, hint = '') {
  const fields = [`S${severity}`, `V${severity}`, `C${code}`, `M${text}`]
  if (hint) fields.push(`H${hint}`)
  return message('E', ...fields, Buffer.from([0]))
}

export function greeting(parameters) {
  const zero = Buffer.alloc(4)
  return Buffer.concat([
    message('R', zero),
    ...Object.entries(parameters).map(([name, value]) => message('S', name, value)),
    message('K', zero, zero),
    readyForQuery('I'),
  ])
}

// What a backend's answer says: whether it holds an error, and the transaction status if it is ready again.
export function inspect(answer) {
  let failed = false
  let status = null
  for (let at = 0; at + 5 <= answer.length; at += 1 + answer.readInt32BE(at + 1)) {
    const type = String.fromCharCode(answer[at])
    if (type === 'E') failed = true
    if (type === 'Z') status = String.fromCharCode(answer[at + 5])
  }
  return { failed, status }
}

const LEXEME = new RegExp([
  /--[^\n\r]*/, // comment
  /\/\*/, // start of another
  /\be'(?:[^'\\]+|\\.|'')*'?/, // string with escapes
  /'[^']*'?/, // string; a doubled quote makes two of one
  /"[^"]*"?/, // quoted name
  /\$((?:[a-z_\x80-\uffff][\w\x80-\uffff]*)?)\$.*?(?:\$\1\$|$)/, // dollar-quoted string
  /[a-z_\x80-\uffff][\w$\x80-\uffff]*/, // word
  /[();]/,
].map((each) => each.source).join('|'), 'gis')

// Whether one of the statements is COPY FROM STDIN; FROM STDOUT means the same to PostgreSQL.
function copiesFromStdin(sql) {
  if (!/copy/i.test(sql) || !/std(in|out)/i.test(sql)) return false
  const lexemes = new RegExp(LEXEME)
  let parentheses = 0
  let first = ''
  let last = ''
  for (let match; (match = lexemes.exec(sql)); ) {
    const lexeme = match[0].toLowerCase()
    if (lexeme === '/*') lexemes.lastIndex = endOfComment(sql, lexemes.lastIndex)
    else if (lexeme.startsWith('--')) continue
    else if (lexeme.startsWith("e'")) lexemes.lastIndex = endOfEscaped(sql, lexemes.lastIndex)
    else if (lexeme === '(') parentheses += 1
    else if (lexeme === ')') parentheses -= 1
    else if (lexeme === ';') [first, last, parentheses] = ['', '', 0]
    else if (parentheses === 0) {
      if (first === 'copy' && last === 'from' && /^std(in|out)$/.test(lexeme)) return true
      first ||= lexeme
      last = lexeme
    }
  }
  return false
}

// Comments nest.
function endOfComment(sql, from) {
  const ends = /\/\*|\*\//g
  ends.lastIndex = from
  for (let depth = 1; depth; ) {
    const end = ends.exec(sql)
    if (!end) return sql.length
    depth += end[0] === '/*' ? 1 : -1
  }
  return ends.lastIndex
}

// A string goes on, with escapes still, in the next one if a newline is all that parts them, comments aside.
function endOfEscaped(sql, from) {
  const gap = /(?:[ \t\n\r\f\v]+|--[^\n\r]*)*/y
  const more = /'(?:[^'\\]+|\\.|'')*'?/sy
  let end = from
  for (;;) {
    gap.lastIndex = end
    if (!/[\n\r]/.test(gap.exec(sql)[0])) return end
    more.lastIndex = gap.lastIndex
    if (!more.test(sql)) return end
    end = more.lastIndex
  }
}

const REFUSAL = `DO $$ BEGIN RAISE EXCEPTION 'COPY FROM STDIN is not possible on the embedded database'
  USING ERRCODE = 'feature_not_supported', HINT = 'INSERT the rows, or serve on a native TimescaleDB.'; END $$`

// COPY FROM STDIN would kill the backend. A statement that fails takes its place, so that the backend itself
// keeps account of the transaction.
export function withoutCopy({ type, bytes }) {
  if (type === 'Q' && copiesFromStdin(bytes.toString('utf8', 5, bytes.length - 1))) return query(REFUSAL)
  if (type === 'P') {
    const name = bytes.indexOf(0, 5)
    const end = bytes.indexOf(0, name + 1)
    if (name > 0 && end > 0 && copiesFromStdin(bytes.toString('utf8', name + 1, end))) {
      return message('P', bytes.toString('utf8', 5, name), REFUSAL, Buffer.alloc(2))
    }
  }
  return bytes
}
