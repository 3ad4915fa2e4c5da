// Grants that the provider does not know by itself.

import { createLocalJWKSet, jwtVerify } from 'jose'
import { errors } from 'oidc-provider'

import { API_SCOPE, JWT_BEARER, TOKEN_EXCHANGE } from './clients.mjs'

const ACCESS_TOKEN = 'urn:ietf:params:oauth:token-type:access_token'

export function registerGrants (provider) {
  provider.registerGrantType(TOKEN_EXCHANGE, tokenExchange, [
    'subject_token', 'subject_token_type', 'actor_token', 'actor_token_type',
    'requested_token_type', 'resource', 'audience', 'scope'
  ], ['resource', 'audience'])
  provider.registerGrantType(JWT_BEARER, jwtBearer, ['assertion', 'scope'])
}

/** RFC 8693, of access tokens for access tokens. */
async function tokenExchange (ctx) {
  const { params, provider } = ctx.oidc
  const wanted = params.requested_token_type ?? ACCESS_TOKEN
  if (wanted !== ACCESS_TOKEN) throw new errors.InvalidRequest('there are access tokens alone')

  const subject = await party(ctx, 'subject')
  if (!subject) throw new errors.InvalidRequest('subject_token is missing')
  const actor = await party(ctx, 'actor')
  ctx.state.actor = actor && name(actor)

  const targets = [params.resource ?? [], params.audience ?? []].flat()
  if (targets.length > 1) throw new errors.InvalidTarget('there is one target for each token')
  const token = issue(ctx, name(subject), within(params.scope, subject.scope), targets[0])
  await respond(ctx, token, { issued_token_type: ACCESS_TOKEN })

  // Section 2.1: a token and its type come together.
  async function party (ctx, role) {
    const [value, type] = [params[`${role}_token`], params[`${role}_token_type`]]
    if (value === undefined && type === undefined) return undefined
    if (type !== ACCESS_TOKEN) throw new errors.InvalidRequest(`${role}_token_type is not supported`)
    // Section 2.2.2: a token that is not valid is an invalid request.
    const token = await findAccess(provider, value)
    if (!token) throw new errors.InvalidRequest(`${role}_token is not valid`)
    return token
  }
}

/** RFC 7523, section 2.1. */
async function jwtBearer (ctx) {
  const { client, params, provider } = ctx.oidc
  if (params.assertion === undefined) throw new errors.InvalidRequest('assertion is missing')
  const { payload } = await jwtVerify(params.assertion, createLocalJWKSet(client.jwks), {
    issuer: client.clientId,
    audience: [provider.issuer, `${provider.issuer}/token`],
    requiredClaims: ['sub', 'exp'],
    clockTolerance: 0
  }).catch(error => { throw new errors.InvalidGrant(`assertion: ${error.message}`) })

  const { iss, jti, exp } = payload
  if (jti !== undefined && !await provider.ReplayDetection.unique(iss, jti, exp)) {
    throw new errors.InvalidGrant('assertion: it was used before')
  }
  await respond(ctx, issue(ctx, payload.sub, within(params.scope, API_SCOPE)))
}

/** What is granted for a resource: all that there is. */
export function resourceServer (resource) {
  return { scope: API_SCOPE, audience: resource, accessTokenFormat: 'opaque' }
}

/** The access token of whichever kind, while it is valid. */
export async function findAccess (provider, value) {
  return await provider.AccessToken.find(value) ?? await provider.ClientCredentials.find(value)
}

/** Who a token stands for. */
function name (token) {
  return token.accountId ?? token.clientId
}

/** What is asked for, if all of that may be given. */
function within (asked, given = '') {
  const allowed = new Set(given.split(' '))
  const beyond = (asked ?? given).split(' ').filter(scope => !allowed.has(scope))
  if (beyond.length > 0) throw new errors.InvalidScope('beyond what is granted', beyond.join(' '))
  return asked ?? given
}

function issue (ctx, accountId, scope, resource) {
  const { client, params, provider } = ctx.oidc
  const token = new provider.AccessToken({ accountId, client, scope, gty: params.grant_type })
  if (resource !== undefined) {
    token.resourceServer = new provider.ResourceServer(resource, resourceServer(resource))
  }
  return token
}

async function respond (ctx, token, more = {}) {
  ctx.oidc.entity('AccessToken', token)
  ctx.body = {
    access_token: await token.save(),
    token_type: token.tokenType,
    expires_in: token.expiration,
    scope: token.scope,
    ...more
  }
}
