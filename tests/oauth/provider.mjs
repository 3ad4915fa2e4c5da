// The authorization server: all that is certified about it is oidc-provider's.

import { generateKeyPairSync } from 'node:crypto'

import { Provider } from 'oidc-provider'

import { API_SCOPE, LOGIN_SCOPE, clients, metadata } from './clients.mjs'
import { registerGrants, resourceServer } from './grants.mjs'

/** Who logs in, whatever the page is asked for. */
export const ACCOUNT = 'alice'

/** The provider, whose access tokens live for `settings.lifetime` seconds each. */
export function createProvider (issuer, store, settings) {
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 })
  const lifetime = () => settings.lifetime
  const provider = new Provider(issuer, {
    adapter: store.adapter,
    jwks: { keys: [privateKey.export({ format: 'jwk' })] },
    clients: Object.values(clients).map(metadata),
    scopes: LOGIN_SCOPE.split(' '),
    clientAuthMethods: ['client_secret_basic', 'client_secret_post', 'client_secret_jwt', 'private_key_jwt', 'none'],
    enabledJWA: { clientAuthSigningAlgValues: ['HS256', 'ES256', 'RS256', 'EdDSA'] },
    findAccount: (_, id) => ({ accountId: id, claims: () => ({ sub: id }) }),
    features: {
      devInteractions: { enabled: false },
      clientCredentials: { enabled: true },
      deviceFlow: { enabled: true },
      introspection: { enabled: true },
      revocation: { enabled: true },
      resourceIndicators: {
        enabled: true,
        defaultResource: (_, __, oneOf) => oneOf,
        useGrantedResource: () => true,
        getResourceServerInfo: (_, resource) => resourceServer(resource)
      }
    },
    interactions: { url: (_, interaction) => `/login/${interaction.uid}` },
    // Who acts for the subject, where a token was exchanged.
    extraTokenClaims: ctx => ctx?.state.actor && { act: { sub: ctx.state.actor } },
    issueRefreshToken: (_, client) => client.grantTypeAllowed('refresh_token'),
    rotateRefreshToken: true,
    ttl: {
      AccessToken: lifetime,
      ClientCredentials: lifetime,
      AuthorizationCode: 60,
      DeviceCode: 120,
      Grant: 86_400,
      IdToken: 300,
      Interaction: 300,
      RefreshToken: 86_400,
      Session: 300
    },
    // A token that is over is refused at once.
    clockTolerance: 0,
    cookies: { keys: ['of tests alone'] }
  })
  registerGrants(provider)
  return provider
}

/** What the account grants to a client. */
export async function grant (provider, clientId, resources = []) {
  const grant = new provider.Grant({ accountId: ACCOUNT, clientId })
  grant.addOIDCScope(LOGIN_SCOPE)
  resources.forEach(resource => grant.addResourceScope(resource, API_SCOPE))
  return await grant.save()
}

/** Who comes to the login page is the account, and agrees. */
export async function login (provider, request, response) {
  const { params } = await provider.interactionDetails(request, response)
  const resources = [params.resource ?? []].flat()
  const grantId = await grant(provider, params.client_id, resources)
  const result = { login: { accountId: ACCOUNT }, consent: { grantId } }
  await provider.interactionFinished(request, response, result)
}
