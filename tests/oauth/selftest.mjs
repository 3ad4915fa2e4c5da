// What the server has to be able to do, seen by `fetch` alone: `node selftest.mjs`.

import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { createHash, createPrivateKey, randomUUID } from 'node:crypto'
import { once } from 'node:events'
import process from 'node:process'
import { createInterface } from 'node:readline'
import test, { after } from 'node:test'

import { SignJWT } from 'jose'

import { DEVICE_CODE, JWT_BEARER, TOKEN_EXCHANGE } from './clients.mjs'

const server = spawn(process.execPath, ['server.mjs', '--lifetime', '60'], {
  cwd: import.meta.dirname, stdio: ['pipe', 'pipe', 'ignore']
})
const [line] = await once(createInterface(server.stdout), 'line')
const at = JSON.parse(line)

const control = async (command, ask = {}) =>
  (await fetch(`${at.control}/${command}`, { method: 'POST', body: JSON.stringify(ask) })).json()
const order = (of, ...faults) => control('faults', { of, faults })
const clients = await control('clients')

async function post (form, headers = {}, url = at.token_endpoint) {
  const response = await fetch(url, {
    method: 'POST', headers, body: new URLSearchParams(form), redirect: 'manual'
  })
  const text = await response.text()
  const { status, headers: fields } = response
  return { status, headers: fields, text, ...(text.startsWith('{') && JSON.parse(text)) }
}

const encode = text => new URLSearchParams({ '': text }).toString().slice(1)
const basic = ({ id, secret }) =>
  ({ authorization: `Basic ${Buffer.from(`${encode(id)}:${encode(secret)}`).toString('base64')}` })
const OWN = { grant_type: 'client_credentials' }
const own = (more = {}) => post({ ...OWN, ...more }, basic(clients.basic))
const refresh = (token, client = clients.login) =>
  post({ grant_type: 'refresh_token', refresh_token: token }, basic(client))

const call = (token, { path = 'echo', ...options } = {}) => fetch(`${at.api}/${path}`, {
  redirect: 'manual', headers: token && { authorization: `Bearer ${token}` }, ...options
})

async function sign (client, { aud = at.issuer, sub = client.id, jti = randomUUID() } = {}) {
  const key = client.key ? createPrivateKey(client.key.pem) : Buffer.from(client.secret)
  const jwt = new SignJWT({ iss: client.id, sub, aud, jti }).setIssuedAt().setExpirationTime('1m')
  return await jwt.setProtectedHeader({ alg: client.key?.alg ?? client.alg, kid: client.key?.kid }).sign(key)
}
const assertion = async client => ({
  client_assertion_type: 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer',
  client_assertion: await sign(client)
})

after(() => server.stdin.end())

test('ends with its input', async () => {
  const other = spawn(process.execPath, ['server.mjs'], {
    cwd: import.meta.dirname, stdio: ['pipe', 'ignore', 'ignore']
  })
  other.stdin.end()
  assert.deepEqual(await once(other, 'exit'), [0, null])
})

test('knows its clients by a password', async () => {
  for (const client of [clients.basic, clients.odd]) {
    const answer = await post(OWN, basic(client))
    assert.equal(answer.status, 200)
    assert.equal(answer.expires_in, 60)
  }
  const { id, secret } = clients.post
  assert.equal((await post({ ...OWN, client_id: id, client_secret: secret })).status, 200)

  assert.equal((await post(OWN, basic({ ...clients.basic, secret: 'wrong' }))).error, 'invalid_client')
  const raw = Buffer.from(`${clients.odd.id}:${clients.odd.secret}`).toString('base64')
  assert.notEqual((await post(OWN, { authorization: `Basic ${raw}` })).status, 200)
})

test('knows its clients by what they sign, once', async () => {
  for (const name of ['secret_jwt', 'es256', 'rs256', 'eddsa']) {
    const form = { ...OWN, ...await assertion(clients[name]) }
    assert.equal((await post(form)).status, 200, name)
    assert.equal((await post(form)).error, 'invalid_client', name)
  }
})

test('echoes to who has a token', async () => {
  const { access_token: token } = await own({ scope: 'read', resource: 'https://api.example/' })
  const body = 'x'.repeat(1000)
  const response = await call(token, { method: 'POST', body })
  const echo = await response.json()
  assert.equal(echo.length, 1000)
  assert.equal(echo.sha256, createHash('sha256').update(body).digest('hex'))
  assert.deepEqual([echo.client, echo.scope, echo.audience], ['basic', 'read', 'https://api.example/'])

  const refused = await call(token, { path: 'write' })
  assert.equal(refused.status, 403)
  assert.match(refused.headers.get('www-authenticate'), /error="insufficient_scope"/)
  assert.equal((await call()).headers.get('www-authenticate'), 'Bearer realm="api"')
})

test('takes tokens for as long as they live', async () => {
  await control('lifetime', { seconds: 1 })
  const { access_token: token, expires_in: seconds } = await own()
  assert.equal(seconds, 1)
  // There is no other clock in the server.
  while ((await call(token)).status === 200) await new Promise(resolve => setTimeout(resolve, 100))
  assert.match((await call(token)).headers.get('www-authenticate'), /error="invalid_token"/)
  await control('reset')
  assert.equal((await own()).expires_in, 60)
})

test('revokes tokens early, by order and by request', async () => {
  const [one, other] = [await own(), await own()]
  const { status } = await post({ token: one.access_token }, basic(clients.basic), `${at.token_endpoint}/revocation`)
  assert.equal(status, 200)
  assert.equal((await call(one.access_token)).status, 401)
  assert.equal((await call(other.access_token)).status, 200)

  assert.ok((await control('revoke_access')).revoked > 0)
  assert.equal((await call(other.access_token)).status, 401)
})

test('rotates refresh tokens, and ends a login when one is used twice', async () => {
  const { refresh_token: first } = await control('login', { client: 'login' })
  let last = await refresh(first)
  for (let round = 0; round < 50; round++) last = await refresh(last.refresh_token)
  assert.equal(last.status, 200)
  assert.equal((await call(last.access_token)).status, 200)

  assert.equal((await refresh(first)).error, 'invalid_grant')
  assert.equal((await refresh(last.refresh_token)).error, 'invalid_grant')
  assert.equal((await call(last.access_token)).status, 401)
})

test('ends a login by order', async () => {
  const { refresh_token: token } = await control('login', { client: 'login' })
  await control('revoke_login', { refresh_token: token })
  assert.equal((await refresh(token)).error, 'invalid_grant')
})

test('loses requests and answers', async () => {
  await order('token', { before: 'drop' }, { after: 'drop' })
  const { refresh_token: token } = await control('login', { client: 'login' })
  await assert.rejects(refresh(token))
  await assert.rejects(refresh(token))
  // The second one was worked on.
  assert.equal((await refresh(token)).error, 'invalid_grant')
})

test('answers what is ordered, and changes answers', async () => {
  await control('reset')
  await order('token',
    { status: 503, headers: { 'retry-after': '7' } },
    { status: 200, headers: { 'content-type': 'text/html' }, body: '<html>' },
    { status: 307, headers: { location: `${at.elsewhere}/token` } },
    { strip: ['expires_in'] },
    { set: { expires_in: '60', error: 'server_error' } })
  assert.equal((await own()).headers.get('retry-after'), '7')
  assert.equal((await own()).text, '<html>')
  assert.equal((await own()).headers.get('location'), `${at.elsewhere}/token`)
  assert.ok(!('expires_in' in await own()))
  const { expires_in: seconds, error } = await own()
  assert.deepEqual([seconds, error], ['60', 'server_error'])

  const { token } = await control('counters')
  assert.deepEqual(token.by_grant, { client_credentials: 5 })
  assert.deepEqual(token.by_auth, { basic: 5 })
  assert.deepEqual(token.by_status, { 200: 3, 307: 1, 503: 1 })
})

test('holds requests until it is told', async () => {
  await control('reset')
  await order('token', { before: 'hold' }, { after: 'hold' }, { after: 1 })
  const answers = [own(), own(), own()]
  await control('held', { of: 'token', count: 2 })
  assert.equal((await answers[2]).status, 200)
  await control('release', { of: 'token' })
  await Promise.all(answers)
  assert.equal((await control('counters')).token.most_at_once, 3)
})

test('does to the resource what is ordered', async () => {
  await control('reset')
  const { access_token: token } = await own()
  await order('api', { status: 401 }, { after: 'hold' }, { before: 'drop' })
  assert.equal((await call(token)).status, 401)
  const held = call(token)
  await control('held', { of: 'api', count: 1 })
  // It was judged before.
  await control('revoke_access')
  await control('release', { of: 'api' })
  assert.equal((await held).status, 200)
  await assert.rejects(call(token))

  const { api } = await control('counters')
  assert.deepEqual(api.by_status, { 200: 1, 401: 1, dropped: 1 })
  assert.equal(api.calls.length, 3)
})

test('counts what leaks to another origin', async () => {
  await control('reset')
  const { access_token: token } = await own()
  const moved = await call(token, { path: 'moved' })
  assert.equal(moved.headers.get('location'), `${at.elsewhere}/moved`)
  const page = await call(token, { path: 'page' })
  assert.equal(page.headers.get('link'), `<${at.elsewhere}/page>; rel="next"`)

  const open = () => fetch(`${at.elsewhere}/page?page=2`)
  const leak = options => fetch(`${at.elsewhere}/page`, options)
  await open()
  await leak({ headers: { authorization: 'Bearer x' } })
  await leak({ headers: { 'x-other': `bearer ${token}` } })
  await leak({ method: 'POST', body: new URLSearchParams({ a: 1, refresh_token: 'x' }) })
  await fetch(`${at.elsewhere}/page?access_token=x`)
  assert.deepEqual((await control('counters')).elsewhere, { requests: 5, leaks: 4 })
})

test('logs devices in', async () => {
  for (const [approve, error] of [[true, undefined], [false, 'access_denied']]) {
    const client = { client_id: clients.native.id }
    const device = await post({ ...client, scope: 'openid offline_access read' }, {}, `${at.issuer}/device/auth`)
    const poll = () => post({ ...client, grant_type: DEVICE_CODE, device_code: device.device_code })
    assert.equal((await poll()).error, 'authorization_pending')
    await control('device', { user_code: device.user_code, approve })
    const answer = await poll()
    assert.equal(answer.error, error)
    assert.equal(approve, 'refresh_token' in answer)
  }
})

test('logs in who comes to its page, with a proof of the code', async () => {
  const verifier = randomUUID() + randomUUID()
  // Any port (RFC 8252, section 7.3).
  const redirect = 'http://127.0.0.1:54321/callback'
  const landed = await browse(`${at.issuer}/auth?${new URLSearchParams({
    client_id: clients.native.id,
    response_type: 'code',
    redirect_uri: redirect,
    scope: 'openid offline_access read',
    prompt: 'consent',
    state: 'a state',
    code_challenge: createHash('sha256').update(verifier).digest('base64url'),
    code_challenge_method: 'S256'
  })}`, redirect)
  assert.equal(landed.get('state'), 'a state')
  assert.equal(landed.get('iss'), at.issuer)

  const form = {
    client_id: clients.native.id, grant_type: 'authorization_code', code: landed.get('code'), redirect_uri: redirect
  }
  const answer = await post({ ...form, code_verifier: verifier })
  assert.equal(answer.status, 200)
  const { client_id: client, refresh_token: token } = { ...form, ...answer }
  const again = await post({ grant_type: 'refresh_token', refresh_token: token, client_id: client })
  assert.equal(again.status, 200)
})

/** Follows redirects as a browser does, with cookies, and returns what the last one carries. */
async function browse (address, until) {
  const cookies = new Map()
  while (!address.startsWith(until)) {
    const response = await fetch(address, {
      redirect: 'manual', headers: { cookie: [...cookies].map(pair => pair.join('=')).join('; ') }
    })
    assert.equal(response.status, 303, await response.text())
    for (const cookie of response.headers.getSetCookie()) {
      const [, name, value] = /^([^=]+)=([^;]*)/.exec(cookie)
      cookies.set(name, value)
    }
    address = new URL(response.headers.get('location'), address).href
  }
  return new URL(address).searchParams
}

test('exchanges tokens', async () => {
  const type = 'urn:ietf:params:oauth:token-type:access_token'
  const [subject, actor] = [await own({ scope: 'read' }), await own()]
  const exchange = (more = {}) => post({
    grant_type: TOKEN_EXCHANGE, subject_token: subject.access_token, subject_token_type: type, ...more
  }, basic(clients.exchange))

  const answer = await exchange({
    resource: 'https://api.example/', scope: 'read', actor_token: actor.access_token, actor_token_type: type
  })
  assert.equal(answer.issued_token_type, type)
  const echo = await (await call(answer.access_token)).json()
  assert.deepEqual([echo.client, echo.account, echo.actor, echo.scope, echo.audience],
    ['exchange', 'basic', 'basic', 'read', 'https://api.example/'])

  assert.equal((await exchange({ scope: 'write' })).error, 'invalid_scope')
  assert.equal((await exchange({ subject_token: 'other' })).error, 'invalid_request')
  assert.equal((await exchange({ subject_token_type: 'other' })).error, 'invalid_request')
  assert.equal((await exchange({ actor_token: 'other' })).error, 'invalid_request')
})

test('takes assertions for tokens, once', async () => {
  const ask = async (claims = {}) => {
    const assertion = await sign(clients.bearer, { sub: 'robot', ...claims })
    return () => post({ grant_type: JWT_BEARER, assertion, scope: 'read' }, basic(clients.bearer))
  }
  const request = await ask()
  const { access_token: token } = await request()
  const echo = await (await call(token)).json()
  assert.deepEqual([echo.account, echo.scope], ['robot', 'read'])
  assert.equal((await request()).error, 'invalid_grant')
  assert.equal((await (await ask({ aud: 'https://other.example' }))()).error, 'invalid_grant')
})
