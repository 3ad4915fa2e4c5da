// What was asked of the servers since the last reset.

export const counters = {}

export function reset () {
  Object.assign(counters, {
    token: {
      requests: 0, at_once: 0, most_at_once: 0, by_grant: {}, by_auth: {}, by_status: {}, errors: {}
    },
    // Each call in the order of the answers: where to, what became of it, and what its body was.
    api: { requests: 0, by_status: {}, calls: [] },
    elsewhere: { requests: 0, leaks: 0 }
  })
}

export function count (by, name) {
  by[name] = (by[name] ?? 0) + 1
}

reset()
