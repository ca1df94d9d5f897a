/** Loads the addon of a single executable, which holds it as bytes: the dynamic linker wants a file. */
import { closeSync, constants, openSync, writeSync } from 'node:fs'
import type { Binding } from './binding.ts'

/** What an executable calls its addon, inside and beside it. */
export const ADDON = 'linkwright.node'

/** O_TMPFILE of <fcntl.h>, which Node does not name: __O_TMPFILE | O_DIRECTORY. */
const O_TMPFILE = 0o20000000 | constants.O_DIRECTORY

const loadFile = (path: string): Binding => {
  const module = { exports: {} as Binding }
  process.dlopen(module, path)
  return module.exports
}

/** From a file that never has a name: nobody can put another in its place, and nothing stays behind. */
const loadFrom = (folder: string, addon: Uint8Array): Binding => {
  const fd = openSync(folder, O_TMPFILE | constants.O_RDWR, 0o700)
  try {
    for (let rest = addon; rest.length > 0; ) rest = rest.subarray(writeSync(fd, rest))
    return loadFile(`/proc/self/fd/${fd}`)
  } finally {
    closeSync(fd)
  }
}

/**
 * @param addon its bytes @param folders where files without a name may be made and executed; the first that allows it
 * @param file the addon as a file, for hosts where none of them does
 * @throws Error with the reason of each
 */
export const loadEmbedded = (addon: Uint8Array, folders: readonly string[], file: string): Binding => {
  const reasons: string[] = []
  const attempt = (place: string, load: () => Binding): Binding | undefined => {
    try {
      return load()
    } catch (error) {
      reasons.push(`${place}: ${(error as Error).message.split('\n')[0]}`)
      return undefined
    }
  }
  for (const folder of folders) {
    const loaded = attempt(folder, () => loadFrom(folder, addon))
    if (loaded) return loaded
  }
  const loaded = attempt(file, () => loadFile(file))
  if (loaded) return loaded
  throw new Error(`linkwright's addon could not be loaded (${process.arch}): ${reasons.join('; ')}`)
}
