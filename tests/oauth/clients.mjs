// Who may ask for tokens. Keys and secrets are good for tests alone.

import { generateKeyPairSync } from 'node:crypto'

export const DEVICE_CODE = 'urn:ietf:params:oauth:grant-type:device_code'
export const JWT_BEARER = 'urn:ietf:params:oauth:grant-type:jwt-bearer'
export const TOKEN_EXCHANGE = 'urn:ietf:params:oauth:grant-type:token-exchange'

export const API_SCOPE = 'read write'
export const LOGIN_SCOPE = `openid offline_access ${API_SCOPE}`

const PAIRS = {
  ES256: ['ec', { namedCurve: 'P-256' }],
  RS256: ['rsa', { modulusLength: 2048 }],
  EdDSA: ['ed25519']
}

const keys = Object.fromEntries(Object.entries(PAIRS).map(([alg, pair]) => {
  const { publicKey, privateKey } = generateKeyPairSync(...pair)
  const kid = `key-${alg.toLowerCase()}`
  const pem = privateKey.export({ type: 'pkcs8', format: 'pem' })
  return [alg, { alg, kid, pem, jwk: { ...publicKey.export({ format: 'jwk' }), kid, alg, use: 'sig' } }]
}))

const MACHINE = { grants: ['client_credentials'], scope: API_SCOPE }
const LOGIN = { grants: ['authorization_code', 'refresh_token'], scope: LOGIN_SCOPE }

/** By the names that tests have for them. */
export const clients = {
  basic: { id: 'basic', secret: 'basic-secret', auth: 'client_secret_basic', ...MACHINE },
  post: { id: 'post', secret: 'post-secret', auth: 'client_secret_post', ...MACHINE },
  // RFC 6749, section 2.3.1: both are form-encoded before they are joined by a colon.
  odd: { id: 'odd: id', secret: '+%41 &=/?:~', auth: 'client_secret_basic', ...MACHINE },
  secret_jwt: {
    id: 'secret-jwt', secret: 'known to both sides, and 32 bytes long', auth: 'client_secret_jwt', alg: 'HS256',
    ...MACHINE
  },
  es256: { id: 'es256', key: keys.ES256, auth: 'private_key_jwt', alg: 'ES256', ...MACHINE },
  rs256: { id: 'rs256', key: keys.RS256, auth: 'private_key_jwt', alg: 'RS256', ...MACHINE },
  eddsa: { id: 'eddsa', key: keys.EdDSA, auth: 'private_key_jwt', alg: 'EdDSA', ...MACHINE },
  login: { id: 'login', secret: 'login-secret', auth: 'client_secret_basic', ...LOGIN },
  // For who falls back on its own rights when the login is lost.
  login_or_own: {
    id: 'login-or-own', secret: 'login-or-own-secret', auth: 'client_secret_basic', ...LOGIN,
    grants: [...LOGIN.grants, 'client_credentials']
  },
  // A program on a user's machine: it has no secret, and any port of the loopback interface.
  native: { id: 'native', auth: 'none', ...LOGIN, grants: [...LOGIN.grants, DEVICE_CODE], native: true },
  // Signs for accounts that it was trusted with.
  bearer: {
    id: 'bearer', secret: 'bearer-secret', auth: 'client_secret_basic', key: keys.ES256, grants: [JWT_BEARER],
    scope: API_SCOPE
  },
  exchange: {
    id: 'exchange', secret: 'exchange-secret', auth: 'client_secret_basic', grants: [TOKEN_EXCHANGE],
    scope: API_SCOPE
  }
}

/** A client as the provider wants it. */
export function metadata ({ id, secret, auth, alg, key, grants, scope, native = false }) {
  const code = grants.includes('authorization_code')
  return {
    client_id: id,
    client_secret: secret,
    token_endpoint_auth_method: auth,
    token_endpoint_auth_signing_alg: alg,
    jwks: key && { keys: [key.jwk] },
    grant_types: grants,
    scope,
    application_type: native ? 'native' : 'web',
    response_types: code ? ['code'] : [],
    redirect_uris: code ? [native ? 'http://127.0.0.1/callback' : 'https://app.example/callback'] : []
  }
}
