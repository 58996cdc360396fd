// TimescaleDB in one Node process, for several clients on loopback.
//
//   node server.mjs --data FOLDER --port N --ready-fd N [--wait-timeout MS] [--idle-timeout MS]
//
// Writes {"port": N} to the file descriptor --ready-fd when it serves. Stops in order, with status 0, on SIGTERM, SIGINT
// and when its standard input ends, which is when its parent died.

import { writeSync } from 'node:fs'
import { createServer } from 'node:net'
import { parseArgs } from 'node:util'
import { Backend } from './backend.mjs'
import { Session } from './session.mjs'

const { values } = parseArgs({
  options: {
    data: { type: 'string' },
    port: { type: 'string', default: '0' },
    'ready-fd': { type: 'string' },
    'wait-timeout': { type: 'string', default: '30000' },
    'idle-timeout': { type: 'string', default: '60000' },
  },
})

const backend = await Backend.open(values.data)
const settings = {
  waitTimeout: Number(values['wait-timeout']),
  idleTimeout: Number(values['idle-timeout']),
  parameters: {
    server_version: await backend.setting('server_version'),
    server_encoding: 'UTF8',
    client_encoding: 'UTF8',
    DateStyle: 'ISO, MDY',
    IntervalStyle: 'postgres',
    TimeZone: 'UTC',
    integer_datetimes: 'on',
    standard_conforming_strings: 'on',
  },
}

const sockets = new Set()
const server = createServer((socket) => {
  sockets.add(socket)
  socket.on('close', () => sockets.delete(socket))
  new Session(socket, backend, settings)
})

let stopping = false
async function stop() {
  if (stopping) return
  stopping = true
  server.close()
  for (const socket of sockets) socket.destroy()
  await backend.close()
  process.exit(0)
}

process.on('SIGTERM', stop).on('SIGINT', stop)
process.stdin.on('end', stop).on('error', stop).resume()
server.on('error', (error) => {
  console.error(error.message)
  process.exit(1)
})
server.listen(Number(values.port), '127.0.0.1', () => {
  writeSync(Number(values['ready-fd']), JSON.stringify({ port: server.address().port }) + '\n')
})
