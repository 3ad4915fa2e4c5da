// The origin server of the suite, on a free port of the loopback interface: `node origin.mjs`.
// It ends when its standard input does, so that it never outlives who started it.

import net from 'node:net'
import os from 'node:os'
import process from 'node:process'

// The suite's server is told a port alone, and listens on every interface.
const listen = net.Server.prototype.listen
net.Server.prototype.listen = function (port) {
  return listen.call(this, { port: Number(port), host: '127.0.0.1' })
}

process.env.npm_config_protocol = 'http'
process.env.npm_config_port = '0'
process.env.npm_config_pidfile = os.devNull
process.stdin.on('end', () => process.exit()).resume()

await import('http-cache-tests/server/server.mjs')
