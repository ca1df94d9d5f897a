/** Modules as the files of the running kernel name them: for who may not try, and to tell what modprobe would find. */
import { existsSync, readFileSync } from 'node:fs'

/** `built-in` and `loaded` work now; `file`: modprobe finds it; `none`: nothing of that name. */
export type ModuleState = 'built-in' | 'loaded' | 'file' | 'none'

export interface Modules {
  /** Whether there are lists of this kernel's modules at all: a container seldom has them. */
  readonly known: boolean
  readonly states: Readonly<Record<string, ModuleState>>
}

/** Bytes of a list; a distribution's has 700 kB. */
const MAX_LIST = 16 << 20

const read = (path: string): string | undefined => {
  try {
    const text = readFileSync(path, 'latin1')
    return text.length > MAX_LIST ? undefined : text
  } catch {
    return undefined
  }
}

/** Names in a list with a file a line: `kernel/net/8021q/8021q.ko.xz: …`. Modules' own names have no hyphens. */
const namesIn = (list: string | undefined): ReadonlySet<string> =>
  new Set([...(list ?? '').matchAll(/([^/\s:]+)\.ko\b/g)].map(([, name]) => name!.replaceAll('-', '_')))

/** The states of some modules. @param release as `uname -r` prints it */
export const readModules = (release: string, names: readonly string[]): Modules => {
  const folder = `/lib/modules/${release}`
  const [builtIn, files] = [read(`${folder}/modules.builtin`), read(`${folder}/modules.dep`)]
  const [inKernel, onDisk] = [namesIn(builtIn), namesIn(files)]
  const stateOf = (name: string): ModuleState => {
    if (inKernel.has(name)) return 'built-in'
    if (existsSync(`/sys/module/${name}`)) return 'loaded'
    return onDisk.has(name) ? 'file' : 'none'
  }
  return {
    known: builtIn !== undefined || files !== undefined,
    states: Object.fromEntries(names.map((name) => [name, stateOf(name)])),
  }
}
