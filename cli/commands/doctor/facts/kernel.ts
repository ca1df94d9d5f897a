import { release } from 'node:os'
import { isMissing, probeLinks, probeTrafficControl } from '../../../../netlink/probe.ts'
import { type Feature, features } from '../features.ts'
import type { Seen } from '../finding.ts'
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
  /** What was tried; not seen where this process may not make a namespace. */
  readonly tried: Seen<Readonly<Partial<Record<Feature, Tried>>>>
}

const toTried = (error: Error | undefined): Tried =>
  error ? { outcome: isMissing(error) ? 'missing' : 'error', why: error.message } : { outcome: 'works' }

/** Tries everything, and reads what modules there are. */
export const lookAtKernel = async (timeout: number): Promise<KernelFacts> => {
  const names = [...new Set(Object.values(features).map(({ module }) => module))]
  const modules = readModules(release(), names)
  const tried = await see(timeout, async () => {
    const all = { ...(await probeLinks()), ...(await probeTrafficControl()) }
    return Object.fromEntries(Object.entries(all).map(([name, error]) => [name, toTried(error)]))
  })
  return { release: release(), modules, tried }
}
