import { type Added, dispatch, type OpenHost } from '../cni/index.ts'
import type { JsonObject } from '../cni/types.ts'
import { withPrevious } from './setting.ts'

export type Verb = 'ADD' | 'DEL'

/** Something that attaches and detaches one container, again and again. */
export interface Contestant {
  readonly name: string
  /** @returns milliseconds */
  run(verb: Verb): Promise<number>
}

/** Where containers' namespaces are named. */
export const containers = '/run/netns'
export const pathOf = (name: string): string => `${containers}/${name}`

/** Ours, as a program calls it. */
export class Ours implements Contestant {
  /** Of its container, too. */
  readonly name: string
  readonly #host: OpenHost
  readonly #conf: JsonObject
  #added: Added | null = null

  constructor(name: string, host: OpenHost, conf: JsonObject) {
    this.name = name
    this.#host = host
    this.#conf = conf
  }

  /** Name of the host's end of its veth pair, where it is a bridge's. */
  get hostLink(): string {
    return this.#added!.result.interfaces![1]!.name
  }

  async run(verb: Verb): Promise<number> {
    const plugin = this.#host.plugins.get(String(this.#conf.type))!
    const conf = verb === 'DEL' && this.#added ? withPrevious(this.#conf, this.#added.json) : this.#conf
    const call = { verb, conf, containerId: this.name, ifName: 'eth0', netnsPath: pathOf(this.name) }
    const start = performance.now()
    const added = await dispatch(plugin, call, this.#host)
    const took = performance.now() - start
    this.#added = added
    return took
  }
}
