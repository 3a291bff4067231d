// What the authorization server remembers: in memory, and open to the test's control.
//
// oidc-provider's own memory store forgets the oldest of 1,000 entries and can't be listed.

const seconds = () => Math.floor(Date.now() / 1000);

export class Store {
  #records = new Map(); // `KIND:ID` -> { kind, id, payload, expires }
  #grace;

  /** For `grace` seconds after a refresh token was rotated, it is as good as before. */
  constructor(grace) {
    this.#grace = grace;
  }

  /** The constructor of adapters that oidc-provider asks for: one adapter for each kind. */
  get Adapter() {
    const store = this;
    return class Adapter {
      constructor(kind) {
        this.kind = kind;
      }
      async upsert(id, payload, ttl) {
        const expires = ttl ? seconds() + ttl : Infinity;
        store.#records.set(`${this.kind}:${id}`, { kind: this.kind, id, payload, expires });
      }
      async find(id) {
        const record = store.#records.get(`${this.kind}:${id}`);
        return record && record.expires > seconds() ? store.#graced(record) : undefined;
      }
      async findByUid(uid) {
        return store.#payload(this.kind, (payload) => payload.uid === uid);
      }
      async findByUserCode(code) {
        return store.#payload(this.kind, (payload) => payload.userCode === code);
      }
      async consume(id) {
        const record = store.#records.get(`${this.kind}:${id}`);
        if (record) record.payload.consumed = seconds();
      }
      async destroy(id) {
        store.#records.delete(`${this.kind}:${id}`);
      }
      async revokeByGrantId(grantId) {
        store.#forget(({ kind, payload }) => kind === this.kind && payload.grantId === grantId);
      }
    };
  }

  /** Forgets every record of these kinds, and says how many those were. */
  forget(...kinds) {
    return this.#forget(({ kind }) => kinds.includes(kind));
  }

  #graced({ kind, payload }) {
    const { consumed, ...unspent } = payload;
    const graced = kind === 'RefreshToken' && consumed !== undefined;
    return graced && seconds() < consumed + this.#grace ? unspent : payload;
  }

  #payload(kind, matches) {
    for (const record of this.#records.values()) {
      const found = record.kind === kind && record.expires > seconds() && matches(record.payload);
      if (found) return record.payload;
    }
    return undefined;
  }

  #forget(matches) {
    let count = 0;
    for (const [key, record] of this.#records) {
      if (matches(record)) {
        this.#records.delete(key);
        count += 1;
      }
    }
    return count;
  }
}
