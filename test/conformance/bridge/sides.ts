/** One scenario played twice: by the Go plugins and by ours, each on a node of its own with the same paths. */
import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import type { JsonObject } from '../../../cni/types.ts'
import { binDirs, type PluginRun, runPlugin } from '../../support/plugin.ts'
import { plainEnv } from '../../support/program.ts'
import { type Container, type PrivateHost, privateHost } from '../../support/space.ts'
import { type KernelState, kernelState } from '../../support/state.ts'
import { settled } from '../../support/wait.ts'

/** Go plugins to compare with; others than Debian's may be given. */
export const goDir = process.env.PEER_CNI_PATH ?? binDirs.go
const answer = spawnSync(`${goDir}/bridge`, {
  env: { ...plainEnv, CNI_COMMAND: 'VERSION' },
  encoding: 'utf8',
})
/** What they speak. Debian's are of 2022 and end with 1.0.0. */
export const goVersions: readonly string[] = JSON.parse(answer.stdout).supportedVersions
/** Whether they have what came after Debian's: trunks, isolation, IPv6 settings, nftables. */
export const isNew = goVersions.includes('1.1.0')

/** One attachment of a scenario. */
export interface Attachment {
  /** Name of the container, and its id. */
  readonly container: string
  /** Default `eth0`. */
  readonly ifName?: string
  /** CNI_ARGS. */
  readonly args?: string
  /** Keys that differ from the scenario's configuration. */
  readonly conf?: JsonObject
}

export interface Scenario {
  readonly title: string
  /** Without cniVersion and name, which are 1.0.0 and `net` unless it says otherwise. */
  readonly conf: JsonObject
  /** Default: one, of the container `blue`. */
  readonly attachments?: readonly Attachment[]
  /** What is on the host before. */
  readonly prepare?: (host: PrivateHost) => Promise<void>
  /** Looks at states after CHECK and after the first DEL, too, not only after ADD and at the end. */
  readonly thorough?: boolean
  /** Only for peers that have it: Debian's don't, see {@link peerOf}. */
  readonly newer?: boolean
  /** The container's MAC is asked for, and has to be the same. */
  readonly keepContainerMac?: boolean
}

/**
 * The folder of the Go plugin that a scenario is compared with: what the usual ones lack is taken from those that
 * `npm test` builds. Null where these are not here, which its summary tells.
 */
export const peerOf = ({ conf, newer = false }: Pick<Scenario, 'conf' | 'newer'>): string | null => {
  const isOld = !newer && conf.cniVersion !== '1.1.0'
  const dirs = !isOld && !isNew ? [binDirs.goNewer] : [goDir, binDirs.goNewer]
  return dirs.find((dir) => existsSync(`${dir}/${conf.type ?? 'bridge'}`)) ?? null
}

/** The same, where there has to be one. */
export const mustPeerOf = (scenario: Scenario): string => {
  const dir = peerOf(scenario)
  if (dir === null) throw new Error(`no Go plugin to compare with: ${scenario.title}`)
  return dir
}

/** Those of them that can be compared here. */
export const comparedOf = <T extends Pick<Scenario, 'conf' | 'newer'>>(scenarios: readonly T[]): T[] =>
  scenarios.filter((scenario) => peerOf(scenario) !== null)

/** Whether what a scenario is compared with has what came after Debian's. */
export const isNewFor = (scenario: Scenario): boolean => isNew || peerOf(scenario) === binDirs.goNewer

/** What one implementation has come to. */
export interface Played {
  /** ADD, then CHECK and two DELs of each attachment, as `ADD blue/eth0`. */
  readonly runs: Readonly<Record<string, PluginRun>>
  /** The host and the containers, by when they were looked at. */
  readonly states: Readonly<Record<string, KernelState>>
  /** Names of the files below /var/lib/cni, at the same times. */
  readonly files: Readonly<Record<string, string>>
}

const only: readonly Attachment[] = [{ container: 'blue' }]

export class Side {
  readonly binDir: string
  readonly host: PrivateHost
  readonly containers = new Map<string, Container>()

  constructor(binDir: string, host: PrivateHost) {
    this.binDir = binDir
    this.host = host
  }

  async container(name: string): Promise<Container> {
    let container = this.containers.get(name)
    if (!container) {
      container = await this.host.container(name)
      await quiet(container)
      this.containers.set(name, container)
    }
    return container
  }

  /** @param binDir whose plugin. Default: the side's */
  async run(
    command: string,
    { container: name, ifName = 'eth0', args, conf: own }: Attachment,
    conf: JsonObject,
    binDir = this.binDir,
  ): Promise<PluginRun> {
    return runPlugin({
      host: this.host,
      binDir,
      type: String(conf.type ?? 'bridge'),
      command,
      containerId: name,
      ifName,
      args,
      netns: await this.container(name),
      conf: { cniVersion: '1.0.0', name: 'net', type: 'bridge', ...conf, ...own },
    })
  }

  async state(): Promise<Record<string, KernelState>> {
    const found: Record<string, KernelState> = {}
    for (const [name, place] of [['host', this.host], ...this.containers] as const) {
      await settled(place)
      found[name] = await kernelState(place)
    }
    return found
  }

  async files(): Promise<string> {
    const { stdout } = await this.host.run('sh', [
      '-c',
      'cd /var/lib && find . -type f | sort | xargs -r grep -H ""',
    ])
    return stdout
  }
}

/** Duplicate address detection is over at once: it would add seconds to each scenario. */
const quiet = async (place: Container | PrivateHost): Promise<void> => {
  const settings = ['ipv6/conf/default/accept_dad', 'ipv4/ip_forward']
  await place.must('sh', ['-ec', settings.map((name) => `echo 0 >/proc/sys/net/${name}`).join('\n')])
}

export const side = async (binDir: string): Promise<Side> => {
  const host = await privateHost()
  await quiet(host)
  return new Side(binDir, host)
}

/** ADD of every attachment, CHECK, DEL, and DEL once more. */
export const play = async (on: Side, scenario: Scenario): Promise<Played> => {
  const { conf, attachments = only, prepare, thorough = false } = scenario
  const runs: Record<string, PluginRun> = {}
  const states: Record<string, KernelState> = {}
  const files: Record<string, string> = {}
  const look = async (when: string): Promise<void> => {
    for (const [where, state] of Object.entries(await on.state())) states[`${where} after ${when}`] = state
    files[when] = await on.files()
  }
  await prepare?.(on.host)
  for (const { container } of attachments) await on.container(container)
  const each = async (command: string, label = command): Promise<void> => {
    for (const attachment of attachments) {
      const key = `${attachment.container}/${attachment.ifName ?? 'eth0'}`
      const prevResult = runs[`ADD ${key}`]?.result
      const own = {
        ...attachment.conf,
        ...(command !== 'ADD' && prevResult ? { prevResult: prevResult as never } : {}),
      }
      runs[`${label} ${key}`] = await on.run(command, { ...attachment, conf: own }, conf)
    }
  }
  await each('ADD')
  await look('ADD')
  if (String(conf.cniVersion ?? '1.0.0') >= '0.4.0') {
    await each('CHECK')
    if (thorough) await look('CHECK')
  }
  await each('DEL')
  if (thorough) await look('DEL')
  await each('DEL', 'DEL again')
  await look('DEL again')
  return { runs, states, files }
}
