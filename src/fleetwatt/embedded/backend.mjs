// The one PostgreSQL backend that all connections share, and the order in which they have it.

import { closeSync, existsSync, fsyncSync, mkdirSync, openSync, rmSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { PGlite } from '@electric-sql/pglite'
import { btree_gist } from '@electric-sql/pglite/contrib/btree_gist'
import { timescaledb } from '@electric-sql/pglite/timescaledb'
import { query } from './protocol.mjs'

const CHECKPOINT_AFTER = 5_000 // ms without a message
const CHECKPOINT_MESSAGES = 20_000 // under load; bounds the write-ahead log
const VACUUM_EVERY = 15 * 60_000 // ms; there is no autovacuum

// What a kill leaves of a first start can't be opened. A mark beside the folder tells that no client has seen it yet.
async function openFolder(folder) {
  const mark = `${folder}.unfinished`
  if (existsSync(mark)) rmSync(folder, { recursive: true, force: true })
  mkdirSync(dirname(folder), { recursive: true })
  if (!existsSync(folder)) writeFileSync(mark, '')
  const pglite = await PGlite.create({ dataDir: folder, extensions: { timescaledb, btree_gist } })
  if (existsSync(mark)) {
    rmSync(mark)
    // A mark that came back after a power loss would cost the data.
    const parent = openSync(dirname(folder))
    fsyncSync(parent)
    closeSync(parent)
  }
  return pglite
}

export class Backend {
  #pglite
  #holder = null
  #waiting = []
  #messages = 0 // since the last checkpoint
  #lastMessage = 0
  #lastVacuum = Date.now()
  #timer

  static async open(folder) {
    const backend = new Backend()
    backend.#pglite = await openFolder(folder)
    await backend.#pglite.exec('SET client_min_messages = notice')
    // A directory that is opened again refuses Community functions until the library is loaded.
    await backend.#pglite.exec("LOAD 'timescaledb'")
    await backend.#pglite.exec("SET timezone = 'UTC'")
    backend.#timer = setInterval(() => backend.#keepHouse(), 1_000)
    return backend
  }

  async setting(name) {
    return (await this.#pglite.query(`SELECT current_setting('${name}') AS value`)).rows[0].value
  }

  // Waits for the backend, first come first served. Resolves to false when `timeout` ms have passed.
  acquire(owner, timeout) {
    if (this.#holder === null) {
      this.#holder = owner
      return Promise.resolve(true)
    }
    return new Promise((resolve) => {
      const place = { owner, resolve }
      place.timer = setTimeout(() => {
        this.#waiting.splice(this.#waiting.indexOf(place), 1)
        resolve(false)
      }, timeout)
      this.#waiting.push(place)
    })
  }

  release(owner) {
    if (this.#holder !== owner) return
    const next = this.#waiting.shift()
    this.#holder = next ? next.owner : null
    if (!next) return
    clearTimeout(next.timer)
    next.resolve(true)
  }

  // Runs one message of the holder's. The answer is a copy: PGlite uses its buffer again. Where PGlite itself fails,
  // its memory is not to be trusted: the process ends, and opening the folder again recovers.
  async run(bytes) {
    this.#messages += 1
    this.#lastMessage = Date.now()
    try {
      return Buffer.from(await this.#pglite.execProtocolRaw(new Uint8Array(bytes), { syncToFs: false }))
    } catch (error) {
      console.error(error)
      process.exit(1)
    }
  }

  async close() {
    clearInterval(this.#timer)
    await this.acquire(this, 10_000)
    await this.run(query('ROLLBACK'))
    await this.run(query('CHECKPOINT'))
    await this.#pglite.close()
  }

  async #keepHouse() {
    const idle = Date.now() - this.#lastMessage
    const due = this.#messages > 0 && (idle > CHECKPOINT_AFTER || this.#messages > CHECKPOINT_MESSAGES)
    if (!due || !(await this.acquire(this, 1_000))) return
    try {
      if (idle > CHECKPOINT_AFTER && Date.now() - this.#lastVacuum > VACUUM_EVERY) {
        await this.run(query('VACUUM (ANALYZE)'))
        this.#lastVacuum = Date.now()
      }
      await this.run(query('CHECKPOINT'))
      this.#messages = 0
    } finally {
      this.release(this)
    }
  }
}
