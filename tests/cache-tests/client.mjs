// The client of the suite: `node client.mjs shared|private BASE_URL OUT_FILE [TEST_ID]`.
// Writes what the tests are and what became of them, unjudged. A test that is named runs with those
// that it depends on alone, and is dumped.

import fs from 'node:fs'
import process from 'node:process'

import { getResults, runTests } from 'http-cache-tests/client/runner.mjs'
import groups from 'http-cache-tests/tests/index.mjs'
import fetch from 'node-fetch'

const [mode, base, out, only] = process.argv.slice(2)

// The suite waits for ever: without this, one answer that never comes is the end of the run.
const ANSWERED_WITHIN = 20_000
const bounded = (url, init) => fetch(url, { ...init, signal: AbortSignal.timeout(ANSWERED_WITHIN) })

const tests = groups.flatMap(group => group.tests)
if (only !== undefined) {
  const neededBy = id => tests.filter(test => test.id === id)
    .flatMap(test => [id, ...(test.depends_on ?? []).flatMap(neededBy)])
  const needed = new Set(neededBy(only))
  groups.forEach(group => { group.tests = group.tests.filter(({ id }) => needed.has(id)) })
  tests.forEach(test => { test.dump = test.id === only })
}

await runTests(groups, bounded, mode === 'private', base)

const facts = tests.map(test => ({
  id: test.id,
  kind: test.kind ?? 'required',
  depends_on: test.depends_on ?? [],
  browser_only: test.browser_only === true,
  browser_skip: test.browser_skip === true
}))
fs.writeFileSync(out, JSON.stringify({ tests: facts, results: getResults() }))
process.exit()
