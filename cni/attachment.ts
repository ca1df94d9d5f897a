/** The one object that a plugin is given, made of a session and a configuration. */
import type { Connection } from '../netlink/connection.ts'
import type { Netns } from '../netlink/netns.ts'
import { CniArgs } from './args.ts'
import { executePlugin, findPlugin, notAsked, parseOutput } from './delegate.ts'
import { invalidConfig } from './error.ts'
import type { Exec } from './exec.ts'
import { lookup } from './fold.ts'
import { type Delegate, type Ipam, ipamType, ownIpamPlugin } from './ipam.ts'
import type { AnyPlugin, Attachment, Clock, Logger } from './plugin.ts'
import { parseResult } from './result.ts'
import { parseConf, parseConfLenient } from './schema.ts'
import type { Session } from './session.ts'
import { freeze, isSettled, Remembered } from './settled.ts'
import type { AttachmentId, JsonObject, Result, Verb } from './types.ts'
import type { UndoStack } from './undo.ts'
import { allows, checkVersion, versionOf } from './version.ts'

/** A verb that a plugin carries out. */
export type Action = Exclude<Verb, 'VERSION'>

/** One configuration under one verb, before a plugin's schema has seen it. */
export interface Call {
  readonly session: Session
  readonly verb: Action
  readonly network: string
  readonly cniVersion: string
  readonly rawConf: JsonObject
  /** The configuration's bytes, for plugins that are executed. Default: `rawConf` printed. */
  readonly stdin?: string | undefined
  /** `rawConf` as the plugin's schema reads it, where that is done already. */
  readonly conf?: unknown
  /** Where a chain has it at hand; otherwise it is read from `rawConf`. */
  readonly prevResult?: Result | null | undefined
}

/** The network must become clean again whatever became of the configuration. */
const isLenient = (verb: Action): boolean => verb === 'DEL' || verb === 'GC'

const readPrevResult = ({ session, verb, cniVersion, rawConf, prevResult }: Call): Result | null => {
  if (prevResult !== undefined) return prevResult
  if (verb === 'GC' || verb === 'STATUS') return null
  const json = lookup(rawConf, 'prevResult')
  if (json === undefined) return null
  try {
    return parseResult(json, cniVersion, 'could not parse prevResult: ')
  } catch (error) {
    if (!isLenient(verb)) throw error
    session.log.warn('prevResult is left out', { quoted: (error as Error).message })
    return null
  }
}

/** @throws CniError code 7 for ADD, CHECK and STATUS where `ipam.type` names a plugin of ours that assigns nothing */
const findIpam = (call: Call): Ipam | null => {
  const type = ipamType(call.rawConf)
  if (type === '') return null
  try {
    const ours = ownIpamPlugin(call.rawConf, call.session.host.plugins)
    return ours ? new OwnDelegate(ours, call) : new ForeignDelegate(type, call)
  } catch (error) {
    if (!isLenient(call.verb)) throw error
    // It can't have reserved anything.
    call.session.log.warn('the IPAM plugin is not asked', {
      network: call.network,
      quoted: (error as Error).message,
    })
    return null
  }
}

/** @internal Makes what a plugin is given. @throws CniError code 7 for ADD, CHECK and STATUS */
export const prepare = (plugin: AnyPlugin, call: Call): Attachment<unknown> => {
  const prevResult = readPrevResult(call)
  return new PluginAttachment(plugin, call, prevResult)
}

/** What a plugin's schema makes of configurations. */
interface Known {
  readonly byText: Remembered<unknown>
  readonly byObject: WeakMap<JsonObject, unknown>
}
const remembered = new WeakMap<AnyPlugin, Known>()

const knownTo = (plugin: AnyPlugin): Known => {
  let known = remembered.get(plugin)
  if (!known) {
    known = { byText: new Remembered(), byObject: new WeakMap() }
    remembered.set(plugin, known)
  }
  return known
}

/**
 * @internal A configuration along the plugin's schema. A network's is the same for each of its containers, and
 * validating it takes longer than to see that.
 * @throws CniError code 7
 */
export const readConf = (plugin: AnyPlugin, rawConf: JsonObject): unknown => {
  const { byText, byObject } = knownTo(plugin)
  const seen = byObject.get(rawConf)
  if (seen !== undefined) return seen
  let text: string
  try {
    text = JSON.stringify(rawConf)
  } catch {
    // Nested too deeply, or no JSON at all: what is wrong with it is told along the schema.
    return parseConf(plugin.conf, rawConf, plugin.type)
  }
  let conf = byText.get(text)
  if (conf === undefined) {
    // What was read belongs to nobody else: parts of it may be the caller's own, who may change them.
    conf = freeze(parseConf(plugin.conf, JSON.parse(text), plugin.type))
    // With the result of one container it will not come again.
    if (lookup(rawConf, 'prevResult') === undefined) byText.set(text, conf)
  }
  if (isSettled(rawConf)) byObject.set(rawConf, conf)
  return conf
}

class PluginAttachment implements Attachment<unknown> {
  readonly conf: unknown
  readonly rawConf: JsonObject
  readonly cniVersion: string
  readonly network: string
  readonly args: CniArgs
  readonly prevResult: Result | null
  readonly containerId: string
  readonly ifName: string
  readonly netnsPath: string
  readonly netns: Netns | null
  readonly hostNetns: Netns
  readonly exec: Exec
  readonly log: Logger
  readonly clock: Clock
  readonly undo: UndoStack
  readonly #session: Session
  readonly #lenient: boolean
  readonly #plugin: AnyPlugin
  readonly #call: Call
  #ipam: Ipam | null | undefined

  constructor(plugin: AnyPlugin, call: Call, prevResult: Result | null) {
    const { session, verb, rawConf } = call
    this.#lenient = isLenient(verb)
    if (call.conf !== undefined) this.conf = call.conf
    else if (this.#lenient) {
      const { conf, warnings } = parseConfLenient(plugin.conf, rawConf)
      this.conf = conf
      for (const warning of warnings)
        session.log.warn(`${plugin.type}: the default is used for a key`, {
          network: call.network,
          quoted: warning,
        })
    } else this.conf = readConf(plugin, rawConf)
    this.rawConf = rawConf
    this.cniVersion = call.cniVersion
    this.network = call.network
    this.args = new CniArgs(session.target.args, verb === 'ADD' || verb === 'CHECK')
    this.prevResult = prevResult
    this.containerId = session.target.containerId
    this.ifName = session.target.ifName
    this.netnsPath = session.target.netnsPath
    this.netns = session.netns
    this.hostNetns = session.hostNetns
    this.exec = session.exec
    this.log = session.log
    this.clock = session.clock
    this.undo = session.undo
    this.#session = session
    this.#plugin = plugin
    this.#call = call
  }

  get signal(): AbortSignal {
    return this.#session.signal
  }
  get host(): Connection {
    return this.#session.rtnetlink
  }
  get hostNftables(): Connection {
    return this.#session.nftables
  }
  get deleteHostLink(): (index: number) => Promise<void> {
    return this.#session.deleteHostLink
  }
  get container(): Connection {
    if (!this.netns && !this.#lenient) throw this.#session.gone()
    return this.#session.container
  }
  get ipam(): Ipam | null {
    if (this.#ipam === undefined)
      this.#ipam =
        // To an IPAM plugin `ipam` is its own configuration.
        this.#plugin.kind === 'ipam'
          ? null
          : findIpam(Object.assign({}, this.#call, { prevResult: this.prevResult }))
    return this.#ipam
  }
  delegate(conf: JsonObject): Delegate {
    const { session, verb } = this.#call
    const { network, cniVersion } = this
    const own = versionOf(this.rawConf)
    const type = lookup(conf, 'type')
    if (typeof type !== 'string') throw invalidConfig(`delegate: type: expected string, got ${typeof type}`)
    const rawConf = Object.assign({}, conf, { name: network, cniVersion: own })
    const call: Call = { session, verb, network, cniVersion, rawConf }
    const ours = session.host.plugins.get(type)
    return ours ? new OwnDelegate(ours, call) : new ForeignDelegate(type, call)
  }
}

/** A plugin of ours: a child that shares everything with its caller but the configuration's schema. */
class OwnDelegate implements Delegate {
  readonly type: string
  readonly needsInterface: boolean
  readonly #plugin: AnyPlugin
  readonly #call: Call
  #prepared: Attachment<unknown> | undefined

  constructor(plugin: AnyPlugin, call: Call) {
    this.type = plugin.type
    this.needsInterface = plugin.needsInterface ?? false
    this.#plugin = plugin
    this.#call = call
    if (call.verb === 'ADD') this.#attachment('ADD')
  }

  #attachment(verb: Action): Attachment<unknown> {
    if (!this.#prepared) checkVersion(verb, this.#call.cniVersion, this.#plugin.versions)
    return this.#prepare()
  }

  #prepare(): Attachment<unknown> {
    this.#prepared ??= prepare(this.#plugin, Object.assign({}, this.#call, { conf: undefined }))
    return this.#prepared
  }

  add(): Promise<Result> {
    return this.#plugin.add(this.#attachment('ADD'))
  }
  check(): Promise<void> {
    return this.#plugin.check(this.#attachment('CHECK'))
  }
  del(): Promise<void> {
    return this.#plugin.del(this.#attachment('DEL'))
  }
  async status(): Promise<void> {
    if (allows(this.#call.cniVersion, 'STATUS')) await this.#plugin.status?.(this.#attachment('STATUS'))
  }
  async gc(valid: readonly AttachmentId[]): Promise<void> {
    if (allows(this.#call.cniVersion, 'GC')) await this.#plugin.gc?.(this.#attachment('GC'), valid)
  }
  async repair(): Promise<readonly string[]> {
    return (await this.#plugin.repair?.(this.#prepare())) ?? []
  }
}

/** A plugin that is executed. */
class ForeignDelegate implements Delegate {
  readonly type: string
  readonly needsInterface: boolean
  readonly #call: Call

  constructor(type: string, call: Call) {
    this.type = type
    // Nothing tells but the name: the only one of its kind that is known.
    this.needsInterface = type === 'dhcp'
    this.#call = call
    if (call.verb === 'ADD') findPlugin(type, call.session.target.path)
  }

  #execute(verb: Action): Promise<string> {
    const { session, rawConf, stdin = JSON.stringify(rawConf) } = this.#call
    return executePlugin({ session, type: this.type, verb, stdin })
  }

  async add(): Promise<Result> {
    const { session, cniVersion } = this.#call
    // Before it runs: one that is killed half way may have done something. Its DEL tolerates that it has not.
    session.undo.push(`DEL of the plugin ${this.type}`, () => this.del())
    return parseOutput(await this.#execute('ADD'), cniVersion, this.type)
  }
  async check(): Promise<void> {
    await this.#execute('CHECK')
  }
  async del(): Promise<void> {
    await this.#execute('DEL')
  }
  async status(): Promise<void> {
    if (allows(this.#call.cniVersion, 'STATUS')) await this.#execute('STATUS')
  }
  async gc(_valid: readonly AttachmentId[]): Promise<void> {
    const { session, rawConf } = this.#call
    // The list of valid attachments is in the configuration that it gets, whose version is the one that it goes by.
    if (allows(versionOf(rawConf), 'GC')) await this.#execute('GC')
    else notAsked(session, this.type, rawConf)
  }
  async repair(): Promise<readonly string[]> {
    return []
  }
}
