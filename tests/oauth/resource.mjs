// The protected resource, and the other origin that it leads to.

import { createHash } from 'node:crypto'

import { count, counters } from './counters.mjs'
import { DROPPED } from './faults.mjs'
import { findAccess } from './grants.mjs'
import { answer, read } from './http.mjs'

/**
 * Answers what is below `/api/`:
 *
 * - `echo` says what arrived, and with whose token
 * - `write` does so for tokens with the scope of that name
 * - `moved` redirects to the other origin
 * - `page` does what `echo` does, and its next page is at the other origin
 */
export function resource (provider, faults, elsewhere) {
  return async (request, response, path) => {
    const { api } = counters
    const body = await read(request)
    const call = {
      path,
      method: request.method,
      length: body.length,
      sha256: createHash('sha256').update(body).digest('hex')
    }
    api.requests += 1

    const fault = faults.next()
    let outcome = await faults.step(fault.before)
    if (outcome !== DROPPED) {
      outcome = fault.status === undefined ? await judge(request, call) : fault
      if (await faults.step(fault.after) === DROPPED) outcome = DROPPED
    }
    const status = outcome === DROPPED ? 'dropped' : outcome.status ?? 200
    count(api.by_status, status)
    api.calls.push({ ...call, status })
    if (outcome === DROPPED) return request.socket.destroy()
    answer(response, outcome)
  }

  async function judge (request, call) {
    if (call.path === '/api/moved') return { status: 307, headers: { location: `${elsewhere}/moved` } }

    const [, value] = /^bearer +(\S+)$/i.exec(request.headers.authorization ?? '') ?? []
    // RFC 6750, section 3.1: who sends no token is told no error.
    if (value === undefined) return refusal(401)
    const token = await findAccess(provider, value)
    if (!token) return refusal(401, 'error="invalid_token", error_description="revoked, or over"')
    if (call.path === '/api/write' && !token.scopes.has('write')) {
      return refusal(403, 'error="insufficient_scope", scope="write"')
    }
    return {
      headers: call.path === '/api/page' ? { link: `<${elsewhere}/page>; rel="next"` } : {},
      body: {
        ...call,
        client: token.clientId,
        account: token.accountId,
        actor: token.extra?.act?.sub,
        scope: token.scope,
        audience: token.aud
      }
    }
  }
}

function refusal (status, error) {
  const challenge = ['Bearer realm="api"', error].filter(Boolean).join(', ')
  return { status, headers: { 'www-authenticate': challenge } }
}

// What must not be in an address, a body, or any field.
const SECRETS =
  /(^|[?&\s])(access_token|refresh_token|subject_token|client_secret|(client_)?assertion|code)=|bearer |basic /i
const FIELDS = ['authorization', 'proxy-authorization', 'cookie', 'x-api-key', 'dpop']

/** Answers anything, and counts the requests that have credentials. */
export async function otherOrigin (request, response) {
  const { elsewhere } = counters
  const body = String(await read(request))
  const sent = [request.url, body, ...Object.values(request.headers)]
  elsewhere.requests += 1
  if (FIELDS.some(field => field in request.headers) || sent.some(text => SECRETS.test(text))) {
    elsewhere.leaks += 1
  }
  answer(response, { body: { elsewhere: true } })
}
