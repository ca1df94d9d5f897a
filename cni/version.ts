/** Versions of the spec: comparing them, and which verbs each allows. */
import { CniError, codes } from './error.ts'
import { lookup } from './fold.ts'
import { goString, goStrings } from './json.ts'
import { allVersions, type JsonObject, type Verb } from './types.ts'

/** The newest version of the spec that is spoken here. */
export const currentVersion = '1.1.0'

type Parts = readonly [major: number, minor: number, micro: number]

const part = (name: string, text: string): number => {
  if (!/^[+-]?[0-9]+$/.test(text))
    throw new CniError({
      code: codes.decoding,
      msg: `failed to convert ${name} version part ${goString(text)}: invalid syntax`,
    })
  return Number(text)
}

const parse = (version: string): Parts => {
  if (version === '') return [0, 1, 0]
  const parts = version.split('.')
  if (parts.length > 3)
    throw new CniError({
      code: codes.decoding,
      msg: `invalid version ${goString(version)}: too many parts`,
    })
  const [major = '', minor = '0', micro = '0'] = parts
  return [part('major', major), part('minor', minor), part('micro', micro)]
}

/** They are asked for again and again. */
const known = new Map(allVersions.map((version) => [version as string, parse(version)]))

/** Up to three numbers between dots; the empty text is 0.1.0. @throws CniError code 6 */
export const parseVersion = (version: string): Parts => known.get(version) ?? parse(version)

/** Negative, 0 or positive as `a` is older than, the same as or newer than `b`. @throws CniError code 6 */
export const compareVersions = (a: string, b: string): number => {
  if (a === b) return 0
  const left = parseVersion(a)
  const right = parseVersion(b)
  return left[0] - right[0] || left[1] - right[1] || left[2] - right[2]
}

/** The `cniVersion` of a configuration or a result; 0.1.0 where there is none. @throws CniError code 6 */
export const versionOf = (json: JsonObject): string => {
  const version = lookup(json, 'cniVersion') ?? ''
  if (typeof version !== 'string')
    throw new CniError({
      code: codes.decoding,
      msg: `decoding version from network config: cniVersion: expected string, got ${typeof version}`,
      details: 'write it like "cniVersion": "1.0.0"',
    })
  return version === '' ? '0.1.0' : version
}

/** The version of the spec in which a verb first appears; the others were there from the start. */
const since: Partial<Record<Verb, string>> = { CHECK: '0.4.0', GC: '1.1.0', STATUS: '1.1.0' }

/** Whether a configuration of this version may be asked for the verb. */
export const allows = (version: string, verb: Verb): boolean =>
  compareVersions(version, since[verb] ?? '0.1.0') >= 0

/**
 * Lets a verb pass where the configuration's version and the plugin's versions allow it.
 * @throws CniError code 1, or 6 for a version that is none
 */
export const checkVersion = (verb: Verb, version: string, supported: readonly string[]): void => {
  if (since[verb] !== undefined) {
    const refuse = (whose: string) =>
      new CniError({ code: codes.incompatibleVersion, msg: `${whose} version does not allow ${verb}` })
    if (!allows(version, verb)) throw refuse('config')
    if (!supported.some((own) => compareVersions(own, version) >= 0)) throw refuse('plugin')
  }
  if (!supported.includes(version))
    throw new CniError({
      code: codes.incompatibleVersion,
      msg: 'incompatible CNI versions',
      details: `config is ${goString(version)}, plugin supports ${goStrings(supported)}`,
    })
}
