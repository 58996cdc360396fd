// One client's connection. It takes the backend at its first message and keeps it until the backend is idle again.

import { Framer, ProtocolError, errorResponse, greeting, inspect, query, readyForQuery, sync, withoutCopy } from './protocol.mjs'

const EXTENDED = new Set(['P', 'B', 'D', 'E', 'C', 'H', 'F'])
const HANDLED = new Set([...EXTENDED, 'Q', 'S'])

export class Session {
  #socket
  #backend
  #settings
  #framer = new Framer()
  #busy = false
  #holding = false
  #skipping = false // after an error the rest is skipped up to Sync
  #ended = false // it got its last words
  #idleTimer

  constructor(socket, backend, settings) {
    this.#socket = socket
    this.#backend = backend
    this.#settings = settings
    socket.setNoDelay(true)
    socket.on('data', (chunk) => {
      if (this.#ended) return
      this.#framer.push(chunk)
      this.#work()
    })
    socket.on('drain', () => this.#work())
    socket.on('error', () => socket.destroy())
    socket.on('close', () => this.#work())
  }

  get #gone() {
    return this.#ended || this.#socket.destroyed
  }

  // Messages are worked off one at a time, in order; whoever finds it busy leaves the rest to the one at work. A client
  // that doesn't read its answers gets no more of them, so that they don't pile up in memory.
  async #work() {
    if (this.#busy) return
    this.#busy = true
    clearTimeout(this.#idleTimer)
    try {
      let message
      while (!this.#gone && !this.#socket.writableNeedDrain && (message = this.#framer.next())) {
        await this.#handle(message)
      }
    } catch (error) {
      if (!(error instanceof ProtocolError)) console.error(error)
      this.#end(errorResponse('FATAL', '08P01', error.message))
    }
    if (this.#gone) await this.#leave()
    else if (this.#holding) this.#limitIdleness()
    this.#busy = false
  }

  async #handle(message) {
    const { type } = message
    if (type === 'ssl' || type === 'gssenc') return this.#socket.write('N')
    if (type === 'startup') return this.#socket.write(greeting(this.#settings.parameters))
    if (type === 'cancel' || type === 'X') return this.#socket.destroy()
    if (!HANDLED.has(type)) throw new ProtocolError(`unexpected message of type ${JSON.stringify(type)}`)
    if (this.#skipping && type !== 'S') return
    if (!this.#holding && !(await this.#takeBackend(type))) return
    await this.#forward(message)
  }

  async #takeBackend(type) {
    if (type === 'S') {
      // Nothing was sent to the backend since the last Sync, or all of it was refused.
      this.#skipping = false
      this.#socket.write(readyForQuery('I'))
      return false
    }
    this.#holding = await this.#backend.acquire(this, this.#settings.waitTimeout)
    if (this.#socket.destroyed) return false
    if (this.#holding) return true
    this.#socket.write(errorResponse('ERROR', '53300', 'the embedded database is busy: another connection holds it',
      'It serves one transaction at a time; end transactions soon, or serve on a native TimescaleDB.'))
    if (type === 'Q') this.#socket.write(readyForQuery('I'))
    else this.#skipping = true
    return false
  }

  async #forward(message) {
    const answer = await this.#backend.run(withoutCopy(message))
    const { failed, status } = inspect(answer)
    this.#skipping = failed && EXTENDED.has(message.type)
    if (!this.#socket.destroyed) this.#socket.write(answer)
    if (status === 'I') {
      this.#holding = false
      this.#backend.release(this)
    }
  }

  #limitIdleness() {
    this.#idleTimer = setTimeout(() => {
      this.#end(errorResponse('FATAL', '25P03', 'terminating connection: it held the embedded database and was idle'))
      this.#work()
    }, this.#settings.idleTimeout)
  }

  // A client that doesn't read its last words keeps the socket, but never the backend.
  #end(lastWords) {
    if (this.#gone) return
    this.#ended = true
    this.#socket.write(lastWords)
    this.#socket.destroySoon()
  }

  // A client that died inside a transaction leaves it behind. A Sync would commit a pipeline that lacks its own; after an
  // error the backend hears nothing else.
  async #leave() {
    clearTimeout(this.#idleTimer)
    if (!this.#holding) return
    this.#holding = false
    try {
      if (this.#skipping) await this.#backend.run(sync())
      await this.#backend.run(query('ROLLBACK'))
    } finally {
      this.#backend.release(this)
    }
  }
}
