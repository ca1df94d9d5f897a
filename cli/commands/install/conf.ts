/** A network configuration for the folder that runtimes read: checked before it is there. */
import { statSync } from 'node:fs'
import { basename, join } from 'node:path'
import { confFor } from '../../../cni/chain.ts'
import { confNames, parseConfList } from '../../../cni/conflist.ts'
import { CniError } from '../../../cni/error.ts'
import { ipamType } from '../../../cni/ipam.ts'
import type { Plugins } from '../../../cni/plugin.ts'
import { readText } from '../../../ipam/files.ts'
import { chained, validateConf } from '../../conf-check.ts'
import type { Wanted } from './entry.ts'
import { attempt, InstallError } from './error.ts'
import { namesIn } from './files.ts'
import type { Note } from './step.ts'

const MAX_BYTES = 1 << 20
const NAME = /^[A-Za-z0-9][\w.-]{0,200}\.conflist$/

/**
 * @returns the types that its ADD executes, those of IPAM among them
 * @throws InstallError where the list, or what one of our plugins is told in it, is wrong
 */
const validate = (text: string, file: string, plugins: Plugins): string[] => {
  try {
    const network = parseConfList(text)
    const first = network.plugins[0]?.type
    if (first !== undefined && chained.has(first))
      throw new InstallError(
        `${file}: ${first} comes first, but works on what another plugin has made`,
        'put it behind the plugin that makes the interface',
      )
    const types = network.plugins.flatMap((plugin) => {
      const conf = confFor({ network }, plugin, {})
      validateConf(plugins, plugin.type, conf)
      return [plugin.type, ipamType(conf)]
    })
    return [...new Set(types)].filter((type) => type !== '')
  } catch (error) {
    if (!(error instanceof CniError)) throw error
    throw new InstallError(`${file}: ${error.msg}`, error.details, error)
  }
}

/** Which file a runtime takes that takes the first. */
export const winnerOf = (names: readonly string[]): string | undefined => confNames(names)[0]

export interface Conf {
  readonly wanted: Wanted
  readonly notes: readonly Note[]
}

/**
 * @param file a `.conflist`; it keeps its name
 * @param isThere whether a plugin that is not ours can be executed
 * @throws InstallError
 */
export const readConf = (
  file: string,
  folder: string,
  plugins: Plugins,
  isThere: (type: string) => boolean,
): Conf => {
  const name = basename(file)
  if (!NAME.test(name))
    throw new InstallError(
      `${file}: a configuration's file is named like 10-mynet.conflist`,
      'runtimes read lists only from files that end in .conflist',
    )
  const { text, mode } = attempt(`reading ${file}`, () => {
    const stat = statSync(file)
    if (!stat.isFile() || stat.size > MAX_BYTES)
      throw new InstallError(`${file} is no file of at most ${MAX_BYTES} bytes`)
    // One that has secrets is for root alone, and stays so.
    return { text: readText(file), mode: (stat.mode & 0o644) | 0o600 }
  })
  const path = join(folder, name)
  const notes: Note[] = validate(text, file, plugins)
    .filter((type) => !plugins.has(type) && !isThere(type))
    .map((type) => ({ path, text: `plugin ${JSON.stringify(type)} is not ours, and is not there` }))
  const winner = winnerOf([...namesIn(folder), name])
  notes.push({
    path,
    text:
      winner === name
        ? `${name} comes first in ${folder}: runtimes that take one network take this one`
        : `${winner} comes before ${name} in ${folder}: runtimes that take one network take that one`,
  })
  return { wanted: { path, role: 'conf', content: { kind: 'file', text, mode } }, notes }
}
