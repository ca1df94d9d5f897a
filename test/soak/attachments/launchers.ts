/** Executed plugins: launchers, with a daemon beside them that comes and goes. The runtime is libcni's double. */

import type { JsonObject } from '../../../cni/types.ts'
import type { DaemonStatus } from '../../../daemon/status.ts'
import { Server } from '../../support/dhcp/server.ts'
import type { PrintedResult } from '../../support/plugin.ts'
import { type Finished, plainEnv } from '../../support/program.ts'
import { Turnstile } from '../support/turnstile.ts'
import type { Call, Door, Outcome } from './door.ts'
import type { SoakNode } from './node.ts'

const SOCKET = '/run/linkwright/linkwright.sock'
/** Milliseconds for one plugin: twenty runtimes may all have to start Node. */
const TIMEOUT = 120_000
/** Plugins at a time while no daemon serves: each is a Node that starts. */
const ALONE = 4

type Plugin = Call['network']['plugins'][number]

/** The configuration of one plugin, as libcni makes it. */
const confOf = (
  { network, portMappings, valid }: Call,
  plugin: Plugin,
  result: PrintedResult | null,
): string => {
  const { capabilities, ...conf } = plugin as Plugin & { capabilities?: JsonObject }
  return JSON.stringify({
    ...conf,
    name: network.name,
    cniVersion: '1.1.0',
    ...(capabilities?.portMappings && portMappings ? { runtimeConfig: { portMappings } } : {}),
    ...(result ? { prevResult: result } : {}),
    ...(valid ? { 'cni.dev/valid-attachments': valid } : {}),
  })
}

/** Kills the plugin that runs when the time has come. */
class Impatience {
  given = false
  #kill: ((signal: NodeJS.Signals) => void) | null = null
  readonly #timer: NodeJS.Timeout | undefined

  constructor(giveUp: Call['giveUp']) {
    if (!giveUp) return
    this.#timer = setTimeout(() => {
      this.given = true
      this.#kill?.(giveUp.signal)
    }, giveUp.after)
  }

  /** Nobody runs: null. */
  watch(kill: ((signal: NodeJS.Signals) => void) | null): void {
    this.#kill = kill
  }

  end(): void {
    clearTimeout(this.#timer)
  }
}

const codeOf = ({ status, signal, stdout, stderr }: Finished): number => {
  if (status === 0) return 0
  try {
    const { code } = JSON.parse(stdout) as { code?: unknown }
    if (typeof code === 'number' && code > 0) return code
  } catch {
    // Told below.
  }
  throw new Error(`${signal ?? `exit ${status}`} without an error:\n${stdout}${stderr}`)
}

export class Launchers extends Server implements Door {
  readonly name = 'launchers and daemon'
  readonly #node: SoakNode
  readonly #alone = new Turnstile(ALONE)
  #serves = false

  constructor(node: SoakNode) {
    super(node.host, 'soak-daemon')
    this.#node = node
  }

  async start(): Promise<void> {
    const args = ['daemon', '--no-dhcp', '--socket', SOCKET]
    const command = { file: this.#node.linkwright, args, ready: /"message":"ready"/ }
    await this.launch({ ...command, deadline: TIMEOUT })
    this.#serves = true
  }

  async end(signal: 'SIGKILL' | 'SIGTERM'): Promise<void> {
    this.#serves = false
    await (signal === 'SIGKILL' ? this.kill() : this.stop())
  }

  async served(): Promise<number> {
    const text = await this.#node.host.must(this.#node.linkwright, ['daemon', '--status', '--json'])
    const { operations } = JSON.parse(text) as DaemonStatus
    return operations.reduce((sum, { count }) => sum + count, 0)
  }

  complaints(): readonly string[] {
    // Its log is JSON; the other lines are the test's own.
    return this.log.lines.filter((line) => !line.startsWith('{') && !line.startsWith('# '))
  }

  /** One plugin. */
  async #execute(
    call: Call,
    plugin: Plugin,
    result: PrintedResult | null,
    patience: Impatience,
  ): Promise<Finished> {
    const { verb, attachment, netns } = call
    const { host, binDir } = this.#node
    try {
      return await host.run(`${binDir}/${plugin.type}`, [], {
        env: {
          ...plainEnv,
          CNI_COMMAND: verb,
          CNI_PATH: binDir,
          ...(attachment ? { CNI_CONTAINERID: attachment.containerID, CNI_IFNAME: attachment.ifname } : {}),
          ...(netns ? { CNI_NETNS: netns } : {}),
        },
        input: confOf(call, plugin, result),
        timeout: TIMEOUT,
        started: (_, kill) => patience.watch(kill),
      })
    } finally {
      patience.watch(null)
    }
  }

  async call(call: Call): Promise<Outcome> {
    const { verb, network } = call
    const plugins = verb === 'DEL' ? network.plugins.toReversed() : network.plugins
    const patience = new Impatience(call.giveUp)
    let result = call.result ?? null
    try {
      for (const plugin of plugins) {
        const execute = () => this.#execute(call, plugin, result, patience)
        const finished = await (this.#serves ? execute() : this.#alone.pass(execute))
        if (patience.given) return { code: 'given up', text: '' }
        const code = codeOf(finished)
        const text = `${plugin.type}: ${finished.stdout}${finished.stderr}`
        if (code !== 0) return { code, text }
        if (verb === 'ADD') result = JSON.parse(finished.stdout) as PrintedResult
      }
      return { code: 0, text: '', ...(verb === 'ADD' && result ? { result } : {}) }
    } finally {
      patience.end()
    }
  }
}
