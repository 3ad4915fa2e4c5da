// What each of the servers does with requests and answers.

import http from 'node:http'

/** Serves on the loopback interface alone; port 0 is any that is free. */
export async function listen (port = 0) {
  // A client that meets the end of an unused connection would fail: tests keep them for long.
  const server = http.createServer({ keepAliveTimeout: 600_000 })
  await new Promise((resolve, reject) => {
    server.once('error', reject).listen(port, '127.0.0.1', resolve)
  })
  return { server, origin: `http://127.0.0.1:${server.address().port}` }
}

export async function read (request) {
  const chunks = []
  for await (const chunk of request) chunks.push(chunk)
  return Buffer.concat(chunks)
}

/** A body that is a buffer or a string is sent as it is, all else as JSON. */
export function answer (response, { status = 200, headers = {}, body = {} }) {
  const plain = typeof body === 'string' || Buffer.isBuffer(body)
  response.writeHead(status, { 'content-type': 'application/json', ...headers })
  response.end(plain ? body : JSON.stringify(body))
}
