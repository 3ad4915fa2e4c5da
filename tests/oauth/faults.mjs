// What goes wrong on order: each request takes the next fault of its queue, or none.
//
// A fault has any of these members:
//   before, after     what happens before the request is worked on, and once the answer is made:
//                     "hold" until the control says to go on, "drop" the connection, or wait for a
//                     number of milliseconds
//   status, headers, body     is answered instead, and the request not worked on
//   strip, set        members that are taken from a good answer, or put into it

/** The connection is to be closed instead of an answer. */
export const DROPPED = Symbol('dropped')

export class Faults {
  #queue = []
  #held = []
  #watchers = []

  add (faults) {
    this.#queue.push(...faults)
  }

  next () {
    return this.#queue.shift() ?? {}
  }

  /** How many are left for requests to come. */
  get left () {
    return this.#queue.length
  }

  /** Forgets what was ordered, and lets go of all. */
  reset () {
    this.#queue = []
    this.release()
  }

  /** Does what one of `before` and `after` says. */
  async step (what) {
    if (what === 'drop') return DROPPED
    if (what === 'hold') return await this.#hold()
    if (what !== undefined) await new Promise(resolve => setTimeout(resolve, what))
  }

  /** Ends as soon as so many are held. */
  async held (count) {
    while (this.#held.length < count) {
      await new Promise(resolve => this.#watchers.push(resolve))
    }
  }

  /** Lets the first ones go on. */
  release (count = this.#held.length) {
    this.#held.splice(0, count).forEach(release => release())
  }

  #hold () {
    return new Promise(resolve => {
      this.#held.push(resolve)
      this.#watchers.splice(0).forEach(watcher => watcher())
    })
  }
}
