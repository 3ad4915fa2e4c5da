// What a test asks of the server itself: `POST /control/NAME` with JSON, answered with JSON.

import { clients, LOGIN_SCOPE } from './clients.mjs'
import { counters, reset } from './counters.mjs'
import { answer, read } from './http.mjs'
import { ACCOUNT, grant } from './provider.mjs'

export function control (provider, store, settings, faults) {
  const now = () => Math.floor(Date.now() / 1000)

  const commands = {
    clients: () => clients,

    counters: () => counters,

    /** Begins anew: counters, faults and settings, but no token is lost. */
    reset: () => {
      reset()
      Object.values(faults).forEach(queue => queue.reset())
      Object.assign(settings, settings.initial)
    },

    /** For tokens that are to come. */
    lifetime: ({ seconds }) => { settings.lifetime = seconds },

    /** Orders faults for the next requests, of the `token` endpoint or the `api`. */
    faults: ({ of, faults: ordered }) => faults[of].add(ordered),

    /** How many faults are left for requests to come. */
    left: ({ of }) => ({ left: faults[of].left }),

    /** Is answered as soon as so many requests are held. */
    held: async ({ of, count }) => await faults[of].held(count),

    release: ({ of, count }) => faults[of].release(count),

    /** Makes all access tokens invalid, before their time. */
    revoke_access: () => ({ revoked: store.revokeAccess() }),

    /** A refresh token, as if somebody had logged in. */
    login: async ({ client: id, scope = LOGIN_SCOPE }) => {
      const client = await provider.Client.find(id)
      const grantId = await grant(provider, id)
      const token = new provider.RefreshToken({
        client, accountId: ACCOUNT, grantId, scope, gty: 'authorization_code', authTime: now()
      })
      return { refresh_token: await token.save() }
    },

    /** Ends a login: its next refresh is refused. */
    revoke_login: async ({ refresh_token: value }) => {
      const token = await provider.RefreshToken.find(value)
      const kinds = [provider.RefreshToken, provider.AccessToken]
      await Promise.all(kinds.map(kind => kind.revokeByGrantId(token.grantId)))
    },

    /** What the user says about a device. */
    device: async ({ user_code: shown, approve = true }) => {
      const code = await provider.DeviceCode.findByUserCode(shown.replaceAll('-', ''))
      if (approve) {
        const { clientId, params } = code
        const grantId = await grant(provider, clientId)
        Object.assign(code, { accountId: ACCOUNT, grantId, scope: params.scope, authTime: now() })
      } else {
        code.error = 'access_denied'
      }
      await code.save()
    }
  }

  return async (request, response, path) => {
    const command = path.slice('/control/'.length)
    const body = await read(request)
    if (!Object.hasOwn(commands, command)) return answer(response, { status: 404 })
    answer(response, { body: await commands[command](body.length > 0 ? JSON.parse(body) : {}) ?? {} })
  }
}
