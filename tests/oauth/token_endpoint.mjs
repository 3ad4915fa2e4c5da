// What is put before the provider's token endpoint: counters, and what goes wrong on order.

import { count, counters } from './counters.mjs'
import { DROPPED } from './faults.mjs'
import { read } from './http.mjs'

/** A middleware of the provider. */
export function tokenEndpoint (faults) {
  return async (ctx, next) => {
    if (ctx.method !== 'POST' || ctx.path !== '/token') return await next()

    // Who came before a reset is counted there to the end.
    const { token } = counters
    token.requests += 1
    token.at_once += 1
    token.most_at_once = Math.max(token.most_at_once, token.at_once)
    try {
      const outcome = await work(ctx, next, faults, faults.next())
      const form = await formOf(ctx)
      count(token.by_grant, form.grant_type ?? 'none')
      count(token.by_auth, authentication(ctx.get('authorization'), form))
      count(token.by_status, outcome === DROPPED ? 'dropped' : ctx.status)
      if (outcome === DROPPED) {
        ctx.respond = false
        ctx.req.socket.destroy()
      }
    } finally {
      token.at_once -= 1
    }
  }
}

async function work (ctx, next, faults, { before, after, status, headers, body, strip, set }) {
  if (await faults.step(before) === DROPPED) return DROPPED
  if (status === undefined) {
    await next()
    if (ctx.status === 200) change(ctx.body, strip, set)
  } else {
    // Unread, it would be in the way of the next request.
    ctx.state.form = await formOf(ctx)
    ctx.status = status
    ctx.type = 'json'
    ctx.body = body ?? { error: 'temporarily_unavailable' }
  }
  ctx.set(headers ?? {})
  return await faults.step(after)
}

function change (answer, strip = [], set = {}) {
  strip.forEach(name => delete answer[name])
  Object.assign(answer, set)
}

/** What was sent, whether or not the provider has read it. */
async function formOf (ctx) {
  const form = ctx.oidc?.body ?? ctx.state.form
  return form ?? Object.fromEntries(new URLSearchParams(String(await read(ctx.req))))
}

function authentication (field, form) {
  if (/^basic /i.test(field)) return 'basic'
  if (form.client_assertion !== undefined) return 'assertion'
  return form.client_secret === undefined ? 'none' : 'post'
}
