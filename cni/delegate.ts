/** Plugins that are not ours: found in CNI_PATH, executed, and their answers read with suspicion. */
import { statSync } from 'node:fs'
import { CniError, codes } from './error.ts'
import { isObject, lookup } from './fold.ts'
import { goString } from './json.ts'
import { parseOwnResult } from './result.ts'
import type { Session } from './session.ts'
import type { JsonObject, Result, Verb } from './types.ts'
import { versionOf } from './version.ts'

/** Milliseconds a plugin may take: below the four minutes that kubelet gives a sandbox, above dhcp's longest try. */
const TIMEOUT = 220_000

const failed = (msg: string, details?: string, cause?: unknown): CniError =>
  new CniError({ code: codes.internal, msg, details, cause })

/** The file of a plugin: the first in the directories of CNI_PATH. @throws CniError code 999 */
export const findPlugin = (type: string, path: string): string => {
  if (type === '') throw failed('no plugin name provided')
  if (/[/\0]/.test(type)) throw failed(`invalid plugin name: ${type}`)
  const directories = path.split(':').filter((directory) => directory !== '')
  if (directories.length === 0)
    throw failed('no paths provided', `CNI_PATH must name the directory of the plugin ${goString(type)}`)
  for (const directory of directories) {
    const file = `${directory.replace(/\/+$/, '')}/${type}`
    if (statSync(file, { throwIfNoEntry: false })?.isFile()) return file
  }
  throw failed(`failed to find plugin ${goString(type)} in path [${directories.join(' ')}]`)
}

/** What a plugin that exited with an error meant by its output. */
const toError = (status: number, stdout: string, stderr: string): CniError => {
  if (stdout === '')
    return failed(
      stderr === ''
        ? `netplugin failed with no error message: exit status ${status}`
        : `netplugin failed: ${goString(stderr)}`,
    )
  const unreadable = (why: string) =>
    failed(`netplugin failed but error parsing its diagnostic message ${goString(stdout)}: ${why}`)
  let json: unknown
  try {
    json = JSON.parse(stdout)
  } catch (error) {
    return unreadable((error as Error).message)
  }
  if (!isObject(json)) return unreadable('expected an object')
  const code = lookup(json, 'code')
  const msg = lookup(json, 'msg')
  const details = lookup(json, 'details')
  if (typeof (code ?? 0) !== 'number' || typeof (msg ?? '') !== 'string')
    return unreadable('expected a number in code and a text in msg')
  return new CniError({
    code: Number.isSafeInteger(code) && (code as number) > 0 ? (code as number) : codes.internal,
    msg: (msg as string | undefined) ?? '',
    details: typeof details === 'string' ? details : undefined,
  })
}

/** A call of a plugin by execution. */
export interface Delegation {
  readonly session: Session
  readonly type: string
  readonly verb: Exclude<Verb, 'VERSION'>
  /** Its standard input, byte for byte. */
  readonly stdin: string
}

/**
 * Executes a plugin with the caller's environment and its own CNI_COMMAND.
 * @returns its standard output
 * @throws CniError its own error; code 999 where it has none that can be read
 */
export const executePlugin = async ({ session, type, verb, stdin }: Delegation): Promise<string> => {
  const { host, target, log } = session
  const file = findPlugin(type, target.path)
  const env = {
    ...host.environment,
    CNI_COMMAND: verb,
    CNI_CONTAINERID: target.containerId,
    CNI_NETNS: target.netnsPath,
    CNI_IFNAME: target.ifName,
    CNI_ARGS: target.args,
    CNI_PATH: target.path,
    ...(target.netnsOverride ? { CNI_NETNS_OVERRIDE: '1' } : {}),
  }
  let executed: Awaited<ReturnType<typeof session.exec>>
  try {
    executed = await session.exec(file, [], { input: stdin, env, timeout: TIMEOUT })
  } catch (error) {
    if (error instanceof CniError) throw error
    session.guard()
    throw failed(`netplugin failed with no error message: ${(error as Error).message}`, undefined, error)
  }
  const { status, stdout, stderr } = executed
  if (status !== 0) throw toError(status, stdout, stderr)
  if (stderr !== '')
    log.warn('a plugin that was executed has something to say', { executed: type, quoted: stderr.trimEnd() })
  return stdout
}

/** Tells that a plugin to be executed has no GC, because its configuration is too old for it. */
export const notAsked = ({ log }: Session, type: string, rawConf: JsonObject): void =>
  log.warn(
    `the plugin ${goString(type)} was not asked what to remove: the configuration is of version ${versionOf(rawConf)}, and GC came with 1.1.0`,
  )

/** Reads what an executed ADD printed; a result without a version has the configuration's. @throws CniError code 999 */
export const parseOutput = (stdout: string, cniVersion: string, type: string): Result => {
  try {
    const json: unknown = JSON.parse(stdout)
    if (json !== null && !isObject(json)) throw new Error('expected an object')
    return parseOwnResult(json ?? {}, cniVersion)
  } catch (error) {
    const { message } = error as Error
    throw failed(
      `failed to unmarshal raw result: ${message}`,
      `it came from the plugin ${goString(type)}`,
      error,
    )
  }
}
