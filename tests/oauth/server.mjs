// An OAuth 2.0 server that does what tests order, for `cargo xtask interop auth`:
// `node server.mjs [--lifetime SECONDS]`, of access tokens.
//
// It says on one line of JSON where it is, and ends when its standard input does, so that it never
// outlives who started it.

import process from 'node:process'
import { parseArgs } from 'node:util'

import { control } from './control.mjs'
import { Faults } from './faults.mjs'
import { answer, listen } from './http.mjs'
import { createProvider, login } from './provider.mjs'
import { otherOrigin, resource } from './resource.mjs'
import { Store } from './store.mjs'
import { tokenEndpoint } from './token_endpoint.mjs'

// The first line of the output is ours, and the only one.
console.info = console.error

const { values: { lifetime } } = parseArgs({
  options: { lifetime: { type: 'string', default: '3600' } }
})
const initial = { lifetime: Number(lifetime) }
const settings = { ...initial, initial }
const faults = { token: new Faults(), api: new Faults() }
const store = new Store()

const [main, elsewhere] = await Promise.all([listen(), listen()])
// The issuer has to carry the port.
const provider = createProvider(main.origin, store, settings).use(tokenEndpoint(faults.token))
const authorize = provider.callback()

const parts = [
  ['/api/', resource(provider, faults.api, elsewhere.origin)],
  ['/control/', control(provider, store, settings, faults)],
  ['/login/', (request, response) => login(provider, request, response)]
]

main.server.on('request', guarded(async (request, response) => {
  const { pathname } = new URL(request.url, main.origin)
  const [, handle] = parts.find(([prefix]) => pathname.startsWith(prefix)) ?? [undefined, authorize]
  await handle(request, response, pathname)
}))
elsewhere.server.on('request', guarded(otherOrigin))

process.stdin.on('end', () => process.exit()).resume()
console.log(JSON.stringify({
  issuer: main.origin,
  token_endpoint: `${main.origin}/token`,
  api: `${main.origin}/api`,
  control: `${main.origin}/control`,
  elsewhere: elsewhere.origin
}))

function guarded (handle) {
  return (request, response) => handle(request, response).catch(error => {
    // Who went away needs no answer.
    if (request.socket.destroyed) return
    console.error(error)
    response.headersSent ? response.end() : answer(response, { status: 500, body: String(error) })
  })
}
