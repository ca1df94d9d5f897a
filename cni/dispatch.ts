/** One plugin, one verb, in process: the gates, the call, and what makes a failed ADD leave nothing behind. */
import { type Action, type Call, prepare } from './attachment.ts'
import { checkContainerId, checkIfNameFor, checkNetworkName } from './environment.ts'
import { CniError, codes } from './error.ts'
import { isObject, lookup } from './fold.ts'
import type { AnyPlugin } from './plugin.ts'
import { toVersion } from './result.ts'
import { type Host, Session, type Target } from './session.ts'
import type { AttachmentId, JsonObject, Result } from './types.ts'
import { checkVersion, versionOf } from './version.ts'

export type { Action } from './attachment.ts'
export type { Host } from './session.ts'

/** One call of a plugin: all that a runtime says through the environment and standard input. */
export interface Invocation {
  readonly verb: Action
  /** The configuration, as JSON.parse gives it. Never changed. */
  readonly conf: JsonObject
  /** Its bytes, which executed delegates get as they are. Default: `conf` printed. */
  readonly stdin?: string | undefined
  /** ADD, CHECK and DEL need it. */
  readonly containerId?: string | undefined
  /** ADD, CHECK and DEL need it. */
  readonly ifName?: string | undefined
  /** The container's namespace, e.g. `/run/netns/blue`. DEL does without. */
  readonly netnsPath?: string | undefined
  /** What is at `netnsPath`, where it has been opened already; see {@link Target.netns}. */
  readonly netns?: Target['netns']
  /** CNI_ARGS: `K=V;K2=V2`. */
  readonly args?: string | undefined
  /** CNI_PATH: where plugins are found that are not in {@link Host.plugins}; directories between colons. */
  readonly path?: string | undefined
  /** Allows a container in the host's own namespace. Default false. */
  readonly netnsOverride?: boolean | undefined
}

/** Options of one call. */
export interface CallOptions {
  /** Gives up: what an ADD has done is undone. */
  readonly signal?: AbortSignal | undefined
  /**
   * Hands the result of an ADD to the caller, in the configuration's version. Where it throws the ADD has failed, and
   * is undone.
   */
  readonly deliver?: ((result: JsonObject) => void | Promise<void>) | undefined
}

/** What an ADD gives. */
export interface Added {
  readonly result: Result
  /** The same in the shape of the configuration's `cniVersion`, ready to be printed. */
  readonly json: JsonObject
}

/** Whose attachments stay, from a GC's configuration; null where it does not say. @throws CniError code 7 */
export const validAttachments = (rawConf: JsonObject): readonly AttachmentId[] | null => {
  // The second is what libcni called it before the specification did.
  const keys = ['cni.dev/valid-attachments', 'cni.dev/attachments']
  const key = keys.find((key) => lookup(rawConf, key) !== undefined)
  if (key === undefined) return null
  const list = lookup(rawConf, key)
  const fail = (what: string) =>
    new CniError({
      code: codes.invalidConfig,
      msg: `failed to load netconf: ${key}: expected ${what}`,
      details: 'nothing was removed',
    })
  if (!Array.isArray(list)) throw fail('array')
  return list.map((entry: unknown) => {
    const containerId = isObject(entry) ? lookup(entry, 'containerID') : undefined
    const ifName = isObject(entry) ? lookup(entry, 'ifname') : undefined
    if (typeof containerId !== 'string' || typeof ifName !== 'string')
      throw fail('objects with the strings containerID and ifname')
    return { containerId, ifName }
  })
}

/** `name` of a configuration. @throws CniError code 6 or 7 */
export const networkOf = (conf: JsonObject): string => {
  const name = lookup(conf, 'name') ?? ''
  if (typeof name !== 'string')
    throw new CniError({
      code: codes.decoding,
      msg: `error unmarshall network config: name: expected string, got ${typeof name}`,
    })
  checkNetworkName(name)
  return name
}

/** @internal Validates what names an attachment. @throws CniError code 4 */
export const targetOf = (invocation: Omit<Invocation, 'conf'>): Target => {
  const { verb, containerId = '', ifName = '', netnsPath = '', args = '', path = '' } = invocation
  if (verb === 'ADD' || verb === 'CHECK' || verb === 'DEL') {
    checkContainerId(containerId)
    checkIfNameFor(verb, ifName)
    if (netnsPath === '' && verb !== 'DEL')
      throw new CniError({
        code: codes.invalidEnvironment,
        msg: 'required env variables [CNI_NETNS] missing',
      })
  }
  if ([netnsPath, args, path].some((text) => text.includes('\0')))
    throw new CniError({ code: codes.invalidEnvironment, msg: 'CNI parameters must not contain zero bytes' })
  const { netns, netnsOverride = false } = invocation
  return { containerId, ifName, netnsPath, netns, args, path, netnsOverride }
}

/**
 * @internal Lets a plugin carry out a verb within a session, after the version gate.
 * @returns the result of an ADD, known to be expressible in the configuration's version; otherwise null
 */
export const carryOut = async (plugin: AnyPlugin, call: Call): Promise<Added | null> => {
  const { verb, session, cniVersion } = call
  checkVersion(verb, cniVersion, plugin.versions)
  session.guard()
  switch (verb) {
    case 'ADD': {
      const result = await plugin.add(prepare(plugin, call))
      // Most chained plugins pass on what they were given.
      const { prevResult: json } = call.rawConf
      if (result === call.prevResult && isObject(json)) return { result, json: json as JsonObject }
      return { result, json: toVersion(result, cniVersion) }
    }
    case 'CHECK':
      await plugin.check(prepare(plugin, call))
      return null
    case 'DEL':
      await plugin.del(prepare(plugin, call))
      return null
    case 'STATUS':
      await plugin.status?.(prepare(plugin, call))
      return null
    case 'GC': {
      const valid = validAttachments(call.rawConf)
      if (valid) await plugin.gc?.(prepare(plugin, call), valid)
      return null
    }
  }
}

/**
 * @internal Runs an operation in a session of its own. When it throws, what it did is undone: the error is the first
 * one, with what could not be undone in its details.
 */
export const inSession = async <T>(
  host: Host,
  target: Target,
  signal: AbortSignal | undefined,
  operation: (session: Session) => Promise<T>,
): Promise<T> => {
  const session = new Session(host, target, signal)
  try {
    const value = await operation(session)
    session.undo.discard()
    return value
  } catch (error) {
    const left = await session.undo.run()
    const failure = CniError.from(error)
    if (left.length === 0) throw failure
    throw new CniError({
      code: failure.code,
      msg: failure.msg,
      details: [failure.details, ...left.map(({ message }) => `could not be undone: ${message}`)]
        .filter(Boolean)
        .join('; '),
      cause: error,
    })
  } finally {
    session.close()
  }
}

/**
 * Calls one plugin in process, as a runtime would execute it. Nothing is touched before everything that came is
 * validated; an ADD that fails or is aborted leaves nothing behind. Reads neither environment nor arguments.
 * @returns the result of an ADD; null for the other verbs
 * @throws CniError
 */
export const dispatch = async (
  plugin: AnyPlugin,
  invocation: Invocation,
  host: Host,
  { signal, deliver }: CallOptions = {},
): Promise<Added | null> => {
  const { verb, conf, stdin } = invocation
  const target = targetOf(invocation)
  const network = networkOf(conf)
  const cniVersion = versionOf(conf)
  return await inSession(host, target, signal, async (session) => {
    const call: Call = { session, verb, network, cniVersion, rawConf: conf, stdin }
    if (verb === 'ADD' || verb === 'DEL') {
      checkVersion(verb, cniVersion, plugin.versions)
      session.checkNetns()
    }
    const added = await carryOut(plugin, call)
    if (added) {
      session.guard()
      await deliver?.(added.json)
    }
    return added
  })
}
