// What the provider keeps. Its own store holds a thousand records, and forgets the oldest.

export class Store {
  #records = new Map()

  /** The provider's view of the records of a kind. */
  adapter = kind => {
    const key = id => `${kind}:${id}`
    const find = async test => this.#find(kind, test)
    return {
      upsert: async (id, record) => { this.#records.set(key(id), { kind, record }) },
      find: async id => this.#records.get(key(id))?.record,
      findByUid: uid => find(record => record.uid === uid),
      findByUserCode: code => find(record => record.userCode === code),
      consume: async id => {
        this.#records.get(key(id)).record.consumed = Math.floor(Date.now() / 1000)
      },
      destroy: async id => { this.#records.delete(key(id)) },
      // Asked of one kind, and meant for the tokens of that kind.
      revokeByGrantId: async grant => {
        this.#remove(entry => entry.kind === kind && entry.record.grantId === grant)
      }
    }
  }

  /** Makes all access tokens invalid, and says how many there were. */
  revokeAccess () {
    return this.#remove(({ kind }) => kind === 'AccessToken' || kind === 'ClientCredentials')
  }

  #find (kind, test) {
    for (const entry of this.#records.values()) {
      if (entry.kind === kind && test(entry.record)) return entry.record
    }
  }

  #remove (test) {
    const found = [...this.#records].filter(([, entry]) => test(entry))
    found.forEach(([key]) => this.#records.delete(key))
    return found.length
  }
}
