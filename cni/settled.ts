/** Configurations that come again and again, for each container of a network: what was made of them may be kept. */
import { lookup } from './fold.ts'
import type { JsonObject } from './types.ts'

/** How many of them are remembered: a node has few networks, but their pods may have arguments of their own. */
const REMEMBERED = 64
/** Characters of a configuration that is worth it. */
const LONGEST = 16_384
/** Keys of what belongs to one container, and comes once. */
const passing = ['prevResult', 'runtimeConfig', 'args'] as const

/** A map of what was used of late, by texts that are not too long: when it is full it begins anew. */
export class Remembered<V> {
  readonly #all = new Map<string, V>()

  get(key: string): V | undefined {
    return this.#all.get(key)
  }

  set(key: string, value: V): void {
    if (key.length > LONGEST) return
    if (this.#all.size === REMEMBERED) this.#all.clear()
    this.#all.set(key, value)
  }
}

/** Makes it unchangeable, to its depths. */
export const freeze = <T>(value: T): T => {
  // Not by recursion: a few thousand brackets are not much of a text.
  const left: unknown[] = [value]
  for (let next = left.pop(); next !== undefined; next = left.pop()) {
    if (typeof next !== 'object' || next === null || Object.isFrozen(next)) continue
    Object.freeze(next)
    for (const inner of Object.values(next)) if (typeof inner === 'object') left.push(inner)
  }
  return value
}

const texts = new Remembered<JsonObject>()
const settled = new WeakSet<JsonObject>()

/** Whether nobody can change a configuration any more, so that what is known of it stays true. */
export const isSettled = (conf: JsonObject): boolean => settled.has(conf)

/**
 * A configuration by its text: the same object, which is {@link isSettled}, where the text is one that came before.
 * @param parse makes a new object of it @throws what `parse` throws
 */
export const settledConf = (text: string, parse: (text: string) => JsonObject): JsonObject => {
  const known = texts.get(text)
  if (known) return known
  const conf = parse(text)
  if (text.length > LONGEST || passing.some((key) => lookup(conf, key) !== undefined)) return conf
  settled.add(freeze(conf))
  texts.set(text, conf)
  return conf
}
