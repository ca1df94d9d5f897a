/** EXECUTE: what a plugin's executable would do, in this process. */
import { CniError, codes } from '../cni/error.ts'
import { printJson } from '../cni/json.ts'
import type { Logger, Plugins } from '../cni/plugin.ts'
import { errorJson, type Reply, serve } from '../cni/serve.ts'
import type { Host } from '../cni/session.ts'
import type { Verb } from '../cni/types.ts'
import { currentVersion } from '../cni/version.ts'
import type { Descriptor } from '../native/binding.ts'
import { errnoName } from '../netlink/error.ts'
import { Netns } from '../netlink/netns.ts'
import type { Exchange } from './connection.ts'
import type { Hosts } from './hosts.ts'
import type { Metrics } from './metrics.ts'
import { type OperationLog, traceOf } from './operation-log.ts'
import { Phases } from './phases.ts'
import type { Answer, ExecuteRequest } from './protocol.ts'
import { Remarks } from './remarks.ts'
import type { Scheduler } from './scheduler.ts'
import type { Thrift } from './thrift.ts'

/**
 * Set for the foreign plugins that an operation executes: one that calls a plugin of ours again, by its launcher, does
 * so as a part of the operation, and does not wait for its end.
 */
export const TURN = 'LINKWRIGHT_TURN'

/** What requests are carried out with. */
export interface ExecutorOptions {
  readonly plugins: Plugins
  readonly hosts: Hosts
  readonly scheduler: Scheduler
  readonly metrics: Metrics
  readonly operations: OperationLog
  readonly thrift: Thrift
  readonly log: Logger
  /** Version of the software, for what a plugin prints about itself. */
  readonly software: string
}

/** What a launcher prints. */
type Printed = Omit<Answer, 'acknowledge'>

const verbs: readonly string[] = ['ADD', 'CHECK', 'DEL', 'GC', 'STATUS', 'VERSION'] satisfies readonly Verb[]

/** As the addon words it: a system call and what it gave. */
const systemError = (syscall: string, errno: number): Error =>
  Object.assign(new Error(`${syscall}: ${errnoName(errno)}`), { syscall, errno, code: errnoName(errno) })

/** CNI_NETNS as the launcher found it; undefined where it is empty. */
const cniNetns = ({ environment, netnsErrno }: ExecuteRequest, opened: Descriptor | undefined) => {
  if (netnsErrno !== 0) return systemError('open', netnsErrno)
  if (!opened) return undefined
  try {
    return Netns.adopt(opened, environment.CNI_NETNS)
  } catch (error) {
    return error as Error
  }
}

const unknown = (type: string, plugins: Plugins): Printed => {
  const error = new CniError({
    code: codes.internal,
    msg: `unknown plugin ${JSON.stringify(type)}`,
    details: `there are ${[...plugins.keys()].join(', ')}`,
  })
  return { status: 1, stdout: printJson(errorJson(error, currentVersion)), stderr: '' }
}

/** A host for one request. A class: V8 takes long over an object that is spread and has a getter. */
class RequestHost implements Host {
  readonly plugins: Plugins
  readonly hostNetns: Host['hostNetns']
  readonly sync: Host['sync']
  readonly log: Host['log']
  readonly clock: Host['clock']
  readonly connections: Host['connections']
  readonly #environment: () => Readonly<Record<string, string>>

  /** @param environment asked when a program is executed: its turn is known by then */
  constructor(host: Host, plugins: Plugins, environment: () => Readonly<Record<string, string>>) {
    this.plugins = plugins
    this.hostNetns = host.hostNetns
    this.sync = host.sync
    this.log = host.log
    this.clock = host.clock
    this.connections = host.connections
    this.#environment = environment
  }

  get environment(): Readonly<Record<string, string>> {
    return this.#environment()
  }
}

export class Executor {
  readonly #options: ExecutorOptions

  constructor(options: ExecutorOptions) {
    this.#options = options
  }

  /**
   * Carries out a request.
   * @param descriptors the launcher's namespace and CNI_NETNS, as the request says; the caller closes them afterwards
   * @returns what is to be printed; null where it has been delivered
   * @throws Error where the launcher has not said where it is
   */
  async execute(
    request: ExecuteRequest,
    descriptors: readonly Descriptor[],
    exchange: Exchange,
  ): Promise<Printed | null> {
    const { plugins, hosts, log } = this.#options
    const { type, hasOwnNetns, hasCniNetns } = request
    const plugin = plugins.get(type)
    if (!plugin) return unknown(type, plugins)
    const [own] = descriptors
    if (!hasOwnNetns || !own) throw new Error('the launcher could not say which network namespace it is in')
    const netns = cniNetns(request, hasCniNetns ? descriptors[1] : undefined)
    const held = hosts.hold(Netns.adopt(own, "the launcher's network namespace"))
    const remarks = new Remarks(type, log)
    try {
      return await this.#run(request, { ...held.host, log: remarks.logger }, netns, exchange, remarks)
    } finally {
      held.release()
    }
  }

  async #run(
    request: ExecuteRequest,
    host: Host,
    netns: Netns | Error | undefined,
    { signal, deliver }: Exchange,
    remarks: Remarks,
  ): Promise<Printed | null> {
    const { plugins, scheduler, software } = this.#options
    const { type, environment, stdin } = request
    const verb = environment.CNI_COMMAND ?? ''
    const container = ['ADD', 'CHECK', 'DEL'].includes(verb) ? (environment.CNI_CONTAINERID ?? null) : null
    const phases = new Phases()
    let network: string | null = null
    let turn = ''
    let stdout = ''
    let delivered = false
    const reply = await serve({
      plugin: plugins.get(type)!,
      environment,
      stdin: () => stdin,
      netns,
      about: `CNI ${type} plugin v${software}`,
      signal,
      turn: (work, name) => {
        network = name
        phases.wait()
        return scheduler.run(
          container,
          verb as Verb,
          signal,
          async (own) => {
            turn = own
            phases.begin()
            await work()
          },
          { network, within: environment[TURN] },
        )
      },
      write: (text) => {
        stdout = text
      },
      deliver: async (text) => {
        phases.done()
        await deliver({ status: 0, stdout: text, stderr: remarks.text })
        delivered = true
      },
      host: new RequestHost(host, plugins, () => ({
        ...(environment as Record<string, string>),
        [TURN]: turn,
      })),
    })
    phases.done()
    this.#tell(request, verb, container, network, reply, phases)
    return delivered ? null : { status: reply.status, stdout, stderr: remarks.text + reply.stderr }
  }

  #tell(
    { type, environment }: ExecuteRequest,
    verb: string,
    container: string | null,
    network: string | null,
    { code }: Reply,
    phases: Phases,
  ): void {
    const { metrics, operations, thrift } = this.#options
    thrift.operation()
    const times = phases.end()
    const seconds = (times.queued + times.work + times.delivered) / 1000
    const known = verbs.includes(verb) ? verb : 'other'
    metrics.operation({ plugin: type, verb: known, code, seconds })
    const trace = traceOf(environment)
    operations.operation({ trace, container, network, plugin: type, verb: known, code, ...times })
  }
}
