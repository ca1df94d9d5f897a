/** What comes as JSON from the other end, looked at field by field. */
import { CniError, codes } from '../../../cni/error.ts'
import { isObject } from '../../../cni/fold.ts'
import type { AttachmentId, Json, JsonObject } from '../../../cni/types.ts'
import type { KeeperStatus, KeptLease, LeaseCall } from '../lease-keeper.ts'

type Kinds = { string: string; number: number }

/** One object of it. Every method throws a CniError of code 6 for a field that is not as it should be. */
class Fields {
  readonly json: JsonObject
  readonly #name: string

  constructor(json: unknown, name: string) {
    if (!isObject(json)) throw unexpected(name, 'object')
    this.json = json as JsonObject
    this.#name = name
  }

  get<K extends keyof Kinds>(key: string, kind: K): Kinds[K] {
    const value = this.#own(key)
    if (typeof value !== kind) throw unexpected(`${this.#name}.${key}`, kind)
    return value as Kinds[K]
  }

  optional<K extends keyof Kinds>(key: string, kind: K): Kinds[K] | undefined {
    const value = this.#own(key)
    return value === undefined || value === null ? undefined : this.get(key, kind)
  }

  object(key: string): Fields {
    return new Fields(this.#own(key), `${this.#name}.${key}`)
  }

  list<T>(key: string, read: (json: Json, name: string) => T): T[] {
    return listOf(this.#own(key), `${this.#name}.${key}`, read)
  }

  #own(key: string): Json | undefined {
    return Object.hasOwn(this.json, key) ? this.json[key] : undefined
  }
}

const unexpected = (name: string, expected: string): CniError =>
  new CniError({ code: codes.decoding, msg: `${name}: expected ${expected}` })

const listOf = <T>(json: unknown, name: string, read: (json: Json, name: string) => T): T[] => {
  if (!Array.isArray(json)) throw unexpected(name, 'array')
  return json.map((item: Json, i) => read(item, `${name}[${i}]`))
}

const idOf = (fields: Fields): AttachmentId => ({
  containerId: fields.get('containerId', 'string'),
  ifName: fields.get('ifName', 'string'),
})

/** @throws CniError code 6 */
export const readLeaseCall = (json: unknown): LeaseCall => {
  const fields = new Fields(json, 'params')
  return {
    ...idOf(fields),
    netns: fields.get('netns', 'string'),
    args: fields.get('args', 'string'),
    conf: fields.object('conf').json,
  }
}

export interface GcParams {
  readonly network: string
  readonly valid: readonly AttachmentId[]
}

/** @throws CniError code 6 */
export const readGcParams = (json: unknown): GcParams => {
  const fields = new Fields(json, 'params')
  return {
    network: fields.get('network', 'string'),
    valid: fields.list('valid', (item, name) => idOf(new Fields(item, name))),
  }
}

/** @throws CniError code 6 */
export const readStatus = (json: unknown): KeeperStatus => {
  const fields = new Fields(json, 'status')
  const counters = fields.object('counters')
  return {
    pid: fields.get('pid', 'number'),
    version: fields.get('version', 'string'),
    leases: fields.get('leases', 'number'),
    counters: Object.fromEntries(
      Object.keys(counters.json).map((name) => [name, counters.get(name, 'number')]),
    ),
  }
}

const readLease = (json: Json, name: string): KeptLease => {
  const fields = new Fields(json, name)
  const version = fields.get('version', 'number')
  if (version !== 4 && version !== 6) throw unexpected(`${name}.version`, '4 or 6')
  return {
    ...idOf(fields),
    network: fields.get('network', 'string'),
    netns: fields.get('netns', 'string'),
    version,
    state: fields.get('state', 'string'),
    address: fields.optional('address', 'string'),
    server: fields.optional('server', 'string'),
    renewAt: fields.optional('renewAt', 'number'),
    rebindAt: fields.optional('rebindAt', 'number'),
    expiresAt: fields.optional('expiresAt', 'number'),
  }
}

/** @throws CniError code 6 */
export const readLeases = (json: unknown): KeptLease[] => listOf(json, 'leases', readLease)

/** What the other end says went wrong. @throws CniError code 6 where it says it badly */
export const readError = (json: unknown): CniError => {
  const fields = new Fields(json, 'error')
  return new CniError({
    code: fields.get('code', 'number'),
    msg: fields.get('msg', 'string'),
    details: fields.optional('details', 'string'),
  })
}
