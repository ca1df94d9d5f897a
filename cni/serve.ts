/** The protocol as text: environment and standard input in, output and exit status out. */
import { dispatch, networkOf } from './dispatch.ts'
import { type Environment, parseEnvironment, toVerb } from './environment.ts'
import { CniError, codes } from './error.ts'
import { isObject, lookup } from './fold.ts'
import { printJson } from './json.ts'
import type { AnyPlugin } from './plugin.ts'
import type { Host, Target } from './session.ts'
import { settledConf } from './settled.ts'
import { allVersions, type JsonObject } from './types.ts'
import { currentVersion } from './version.ts'

/** One execution of a plugin. */
export interface Request {
  readonly plugin: AnyPlugin
  readonly environment: Environment
  /** Reads all of standard input. Called only where it is needed. */
  readonly stdin: () => string | Promise<string>
  /** Lets news of a wish to stop come in, before an ADD is declared a success. */
  readonly beforeSuccess?: (() => Promise<void>) | undefined
  /**
   * Runs what a verb does, with the name of its network, when its turn is. Where it throws instead, that is the answer.
   * Default: at once.
   */
  readonly turn?: ((work: () => Promise<void>, network: string) => Promise<void>) | undefined
  /** Writes standard output. */
  readonly write: (text: string) => void | Promise<void>
  /** Hands over the result of an ADD, which is undone where this throws. Default: `write`. */
  readonly deliver?: ((text: string) => void | Promise<void>) | undefined
  /** What is at CNI_NETNS, where it has been opened already; see {@link Target.netns}. */
  readonly netns?: Target['netns']
  /** Printed to standard error when nothing was asked: `CNI bridge plugin v1.2.3`. */
  readonly about: string
  readonly host: Host
  readonly signal?: AbortSignal | undefined
}

/** What is left to do for who executes. */
export interface Reply {
  /** Exit status: 0 or 1. */
  readonly status: number
  /** Of the CNI error that was answered; 0: none. */
  readonly code: number
  readonly stderr: string
}

const readStdin = async ({ stdin }: Request): Promise<string> => {
  try {
    return await stdin()
  } catch (error) {
    if (error instanceof CniError) throw error
    throw new CniError({
      code: codes.io,
      msg: `error reading from stdin: ${(error as Error).message}`,
      cause: error,
    })
  }
}

/** @throws CniError code 6 */
export const parseStdin = (text: string): JsonObject => {
  const fail = (why: string) =>
    new CniError({ code: codes.decoding, msg: `error unmarshall network config: ${why}` })
  let json: unknown
  try {
    json = JSON.parse(text)
  } catch (error) {
    throw fail(text === '' ? 'unexpected end of JSON input' : (error as Error).message)
  }
  // null means an object with nothing in it, to Go.
  if (json === null) return {}
  if (!isObject(json)) throw fail(`expected object, got ${Array.isArray(json) ? 'array' : typeof json}`)
  return json as JsonObject
}

/** A CNI error as printed. */
export const errorJson = ({ code, msg, details }: CniError, cniVersion: string): JsonObject => ({
  cniVersion,
  code,
  msg,
  details: details || undefined,
})

const known = (version: unknown): string =>
  allVersions.find((candidate) => candidate === version) ?? currentVersion

/** Answers one execution of a plugin. Never throws for what came from outside. */
export const serve = async (request: Request): Promise<Reply> => {
  const { plugin, environment, write, deliver = write, about, host, signal, netns } = request
  let conf: JsonObject = {}
  try {
    let parameters: ReturnType<typeof parseEnvironment>
    try {
      parameters = parseEnvironment(environment)
    } catch (error) {
      if (environment.CNI_COMMAND || about === '') throw error
      return {
        status: 0,
        code: 0,
        stderr: `${about}\nCNI protocol versions supported: ${plugin.versions.join(', ')}\n`,
      }
    }
    const { command } = parameters
    if (command === 'VERSION') {
      const versions = { cniVersion: currentVersion, supportedVersions: plugin.versions }
      await write(`${printJson(versions, 0)}\n`)
      return { status: 0, code: 0, stderr: '' }
    }
    const stdin = await readStdin(request)
    conf = settledConf(stdin, parseStdin)
    const network = networkOf(conf)
    const verb = toVerb(command)
    if (verb === 'VERSION') throw new Error('VERSION has been answered')
    const work = async (): Promise<void> => {
      await dispatch(plugin, { ...parameters, verb, conf, stdin, netns }, host, {
        signal,
        deliver: async (result) => {
          await request.beforeSuccess?.()
          signal?.throwIfAborted()
          try {
            await deliver(printJson(result))
          } catch (error) {
            const msg = `error writing the result to stdout: ${(error as Error).message}`
            throw new CniError({ code: codes.io, msg, cause: error })
          }
        },
      })
    }
    await (request.turn?.(work, network) ?? work())
    return { status: 0, code: 0, stderr: '' }
  } catch (error) {
    const reason = CniError.from(error)
    const { code } = reason
    const failure = errorJson(reason, known(lookup(conf, 'cniVersion')))
    try {
      await write(printJson(failure))
      return { status: 1, code, stderr: '' }
    } catch (unwritable) {
      return {
        status: 1,
        code,
        stderr: `Error writing error JSON to stdout: ${(unwritable as Error).message}\n${printJson(failure)}\n`,
      }
    }
  }
}
