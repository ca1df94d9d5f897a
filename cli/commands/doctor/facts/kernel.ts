import { release } from 'node:os'
import { isMissing, probeLinks, probeTrafficControl } from '../../../../netlink/probe.ts'
import { type Feature, features } from '../features.ts'
import { see } from '../see.ts'
import { type Modules, readModules } from './modules.ts'

/** One try. `missing`: the kernel has no such thing; `error`: something else was in the way. */
export type Tried =
  | { readonly outcome: 'works' }
  | { readonly outcome: 'missing' | 'error'; readonly why: string }

export interface KernelFacts {
  /** As `uname -r` prints it. */
  readonly release: string
  readonly modules: Modules
  /** What was tried. */
  readonly tried: Readonly<Partial<Record<Feature, Tried>>>
  /** Why the rest was not: this process may not make a namespace, or it took too long; empty where nothing is left. */
  readonly untried: string
}

const toTried = (error: Error | undefined): Tried =>
  error ? { outcome: isMissing(error) ? 'missing' : 'error', why: error.message } : { outcome: 'works' }

/** Tries everything, and reads what modules there are. @param timeout milliseconds, twice: modules are loaded */
export const lookAtKernel = async (timeout: number): Promise<KernelFacts> => {
  const names = [...new Set(Object.values(features).map(({ module }) => module))]
  const modules = readModules(release(), names)
  const looks = [await see(timeout, probeLinks), await see(timeout, probeTrafficControl)]
  const outcomes = looks.flatMap((look): [string, Error | undefined][] =>
    look.seen ? Object.entries(look.value) : [],
  )
  return {
    release: release(),
    modules,
    tried: Object.fromEntries(outcomes.map(([name, error]) => [name, toTried(error)])),
    untried: looks.flatMap((look) => (look.seen ? [] : look.why))[0] ?? '',
  }
}
