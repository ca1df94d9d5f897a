/** What a runtime says besides the configuration: names, paths and the verb. Spec section 2, "Parameters". */
import { checkName } from '../netlink/link/name.ts'
import { CniError, codes } from './error.ts'
import type { Verb } from './types.ts'

/** Environment variables by name. */
export type Environment = Readonly<Record<string, string | undefined>>

/** The `CNI_*` variables, validated; empty where absent. */
export interface Parameters {
  /** CNI_COMMAND as it came. Whether it is a {@link Verb} is looked at after the configuration. */
  readonly command: string
  readonly containerId: string
  readonly netnsPath: string
  readonly ifName: string
  readonly args: string
  /** CNI_PATH: directories between colons. */
  readonly path: string
  /** CNI_NETNS may be the plugin's own namespace. */
  readonly netnsOverride: boolean
}

const bad = (msg: string, details?: string): CniError =>
  new CniError({ code: codes.invalidEnvironment, msg, details })

const NAME = /^[a-zA-Z0-9][a-zA-Z0-9_.-]*$/

/** @throws CniError code 4 */
export const checkContainerId = (id: string): void => {
  if (!NAME.test(id)) throw bad('invalid characters in containerID', id)
}

/** What Go calls space, the separators, and the end of a C string. */
const NOT_IN_IFNAME = /[/:\0\t-\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]/

/**
 * The reference's rules for interface names (IFNAMSIZ is 16 with its final zero). They are all that DEL goes by: what
 * another implementation, or an older release of this one, has left under any name must not stay for ever.
 * @throws CniError code 4
 */
export const checkIfName = (name: string): void => {
  if (name === '') throw bad('interface name is empty')
  if (Buffer.byteLength(name) > 15)
    throw bad('interface name is too long', 'interface name should be less than 16 characters')
  if (name === '.' || name === '..') throw bad('interface name is . or ..')
  if (NOT_IN_IFNAME.test(name)) throw bad('interface name contains / or : or whitespace characters')
}

/**
 * The same for an interface that is to be made, or has to be there: what the kernel refuses, or would make another name
 * of, is refused before anything is done.
 * @throws CniError code 4
 */
export const checkNewIfName = (name: string): void => {
  checkIfName(name)
  try {
    checkName(name)
  } catch (error) {
    throw bad('interface name is none that an interface can have', (error as Error).message)
  }
}

/** {@link checkIfName} or {@link checkNewIfName}, as the verb needs it. @throws CniError code 4 */
export const checkIfNameFor = (verb: string, name: string): void =>
  verb === 'DEL' ? checkIfName(name) : checkNewIfName(name)

/** `name` of a configuration. @throws CniError code 7 */
export const checkNetworkName = (name: string): void => {
  if (name === '') throw new CniError({ code: codes.invalidConfig, msg: 'missing network name' })
  if (!NAME.test(name))
    throw new CniError({
      code: codes.invalidConfig,
      msg: 'invalid characters found in network name',
      details: name,
    })
}

interface Variable {
  readonly name: string
  readonly required: readonly string[]
  readonly check?: (value: string, command: string) => void
}

const ofContainer = ['ADD', 'CHECK', 'DEL']
const ofAll = [...ofContainer, 'GC', 'STATUS']

/** In the order they are looked at; the first that is malformed wins over those that are missing. */
const variables: readonly Variable[] = [
  { name: 'CNI_CONTAINERID', required: ofContainer, check: checkContainerId },
  { name: 'CNI_NETNS', required: ['ADD', 'CHECK'] },
  { name: 'CNI_IFNAME', required: ofContainer, check: (name, command) => checkIfNameFor(command, name) },
  { name: 'CNI_PATH', required: ofAll },
]

/** Reads and validates the `CNI_*` variables. @throws CniError code 4 */
export const parseEnvironment = (environment: Environment): Parameters => {
  const value = (name: string) => environment[name] ?? ''
  const command = value('CNI_COMMAND')
  const missing = command === '' ? ['CNI_COMMAND'] : []
  for (const { name, required, check } of variables) {
    if (!required.includes(command)) continue
    if (value(name) === '') missing.push(name)
    else check?.(value(name), command)
  }
  if (missing.length > 0) throw bad(`required env variables [${missing.join(',')}] missing`)
  return {
    command,
    containerId: value('CNI_CONTAINERID'),
    netnsPath: value('CNI_NETNS'),
    ifName: value('CNI_IFNAME'),
    args: value('CNI_ARGS'),
    path: value('CNI_PATH'),
    netnsOverride: /^(?:true|1)$/i.test(value('CNI_NETNS_OVERRIDE')),
  }
}

const verbs: readonly string[] = ['ADD', 'CHECK', 'DEL', 'GC', 'STATUS', 'VERSION']

/** @throws CniError code 4: `unknown CNI_COMMAND: NOPE` */
export const toVerb = (command: string): Verb => {
  if (!verbs.includes(command)) throw bad(`unknown CNI_COMMAND: ${command}`, `known are ${verbs.join(', ')}`)
  return command as Verb
}
