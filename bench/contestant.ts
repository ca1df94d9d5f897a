import { type Added, dispatch, type OpenHost } from '../cni/index.ts'
import type { JsonObject } from '../cni/types.ts'
import type { Launcher } from './launcher.ts'
import { withPrevious } from './setting.ts'

export const verbs = ['ADD', 'DEL'] as const
export type Verb = (typeof verbs)[number]

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

export interface Executable {
  /** Folder of its plugins. */
  readonly binDir: string
  readonly conf: JsonObject
  /** Of its container. */
  readonly name: string
  /** Further variables. */
  readonly env?: Readonly<Record<string, string>> | undefined
}

/** A plugin that is executed, as a runtime does. */
export const executing = (launcher: Launcher, { binDir, conf, name, env }: Executable): Contestant => {
  const call = { binDir, type: String(conf.type), containerId: name, netns: pathOf(name), env }
  let previous: JsonObject = {}
  return {
    name,
    async run(verb) {
      const own = verb === 'ADD' ? conf : withPrevious(conf, previous)
      const { took, json } = await launcher.run({ ...call, command: verb, conf: own })
      previous = json ?? {}
      return took
    },
  }
}

/**
 * Everybody in each round; who begins changes. Nobody comes right after themselves: what a DEL of rules leaves the kernel
 * to do in its own time is not waited for by the next ADD alone.
 */
export const rounds = async <T>(
  all: readonly T[],
  count: number,
  each: (one: T) => Promise<void>,
): Promise<void> => {
  const step = all.length > 2 ? 1 : 0
  for (let i = 0; i < count; i++)
    for (let j = 0; j < all.length; j++) await each(all[(i * step + j) % all.length]!)
}
