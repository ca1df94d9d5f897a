/** `linkwright demo`: two real attachments on throwaway namespaces, with a ping, and nothing left behind. */
import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { release, tmpdir } from 'node:os'
import { join } from 'node:path'
import { dispatch, type Host } from '../../../cni/dispatch.ts'
import { CniError } from '../../../cni/error.ts'
import { printJson } from '../../../cni/json.ts'
import type { JsonObject, Result } from '../../../cni/types.ts'
import { link, Netns } from '../../../netlink/index.ts'
import { defineBridge } from '../../../plugins/bridge/index.ts'
import { plugins } from '../../../plugins/index.ts'
import { defineCommand, type Output } from '../../command.ts'
import { stderrLogger } from '../../log.ts'
import { packageVersion } from '../../version.ts'
import { ping } from './ping.ts'

const NETWORK = 'mynet'

/** The classic configuration; reservations go to a directory of the demonstration's own. */
const configuration = (dataDir: string): JsonObject => ({
  cniVersion: '1.0.0',
  name: NETWORK,
  type: 'bridge',
  bridge: 'cni0',
  isGateway: true,
  ipMasq: true,
  ipam: { type: 'host-local', subnet: '10.22.0.0/16', routes: [{ dst: '0.0.0.0/0' }], dataDir },
})

interface Container {
  readonly id: string
  readonly netns: Netns
  /** How CNI names the namespace: nothing but this process has it open. */
  readonly path: string
}

const container = (id: string): Container => {
  const netns = Netns.create()
  return { id, netns, path: `/proc/${process.pid}/fd/${netns.descriptor?.fd}` }
}

const milliseconds = (since: number): string => `${(performance.now() - since).toFixed(1)} ms`

const addressOf = ({ ips }: Result): string => ips?.[0]?.address ?? ''

/** What has been built, with the names and addresses of the results. */
const picture = ([first, second]: readonly [Result, Result]): string => {
  const [device, , inside] = first.interfaces ?? []
  const name = inside?.name ?? ''
  const veths = [first, second].map(({ interfaces }) => interfaces?.[1]?.name ?? '')
  const boxes = [first, second].map((result) => addressOf(result))
  const row = (a: string, b: string): string => `   ${a.padEnd(26)}${b}`
  return [
    row('container 1', 'container 2'),
    row('+--------------------+', '+--------------------+'),
    row(`| ${name.padEnd(18)} |`, `| ${name.padEnd(18)} |`),
    row(`| ${boxes[0]!.padEnd(18)} |`, `| ${boxes[1]!.padEnd(18)} |`),
    row('+---------+----------+', '+---------+----------+'),
    row('          |', '          |'),
    row(`     ${veths[0]}`, `     ${veths[1]}`),
    row('          |', '          |'),
    `   +---------+-------------------------+---------+   host`,
    `   | ${`${device?.name}  ${first.ips?.[0]?.gateway}/16`.padEnd(46)}|`,
    `   +---------------------+-----------------------+`,
    `                         |  masquerade (nf_tables)`,
    `                         v  the world`,
  ].join('\n')
}

/** What is left of two attachments, in words: the bridge alone stays, as for any network. */
const leftovers = async (
  host: Netns,
  containers: readonly Container[],
  dataDir: string,
): Promise<string[]> => {
  using connection = host.connect()
  const left = (await connection.run(link.list({ kind: 'veth' }))).map(
    ({ name }) => `link ${name} on the host`,
  )
  for (const { id, netns } of containers) {
    using inside = netns.connect()
    for (const { name } of await inside.run(link.list()))
      if (name !== 'lo') left.push(`link ${name} in ${id}`)
  }
  const folder = join(dataDir, NETWORK)
  const reservations = existsSync(folder)
    ? readdirSync(folder).filter((name) => /^[0-9a-f.:]+$/.test(name))
    : []
  return [...left, ...reservations.map((name) => `reservation ${name}`)]
}

const run = async ({ out }: Output): Promise<void> => {
  const dataDir = mkdtempSync(join(tmpdir(), 'linkwright-demo-'))
  const bridge = defineBridge({ locks: join(dataDir, 'locks') })
  const hostNetns = Netns.create()
  const containers = [container('demo-1'), container('demo-2')] as const
  const host: Host = { plugins, hostNetns, log: stderrLogger('linkwright') }
  const conf = configuration(dataDir)
  const call = (verb: 'ADD' | 'CHECK' | 'DEL', { id, path }: Container, prevResult?: JsonObject) =>
    dispatch(
      bridge,
      {
        verb,
        conf: prevResult ? { ...conf, prevResult } : conf,
        containerId: id,
        ifName: 'eth0',
        netnsPath: path,
      },
      host,
    )
  try {
    out(`Linkwright ${packageVersion()}, Linux ${release()}, Node ${process.version}\n`)
    out('One private namespace plays the host, two play containers; this machine is not touched.\n\n')
    out(`The configuration:\n${printJson(conf)}\n\n`)

    const added = []
    for (const each of containers) {
      const start = performance.now()
      const result = await call('ADD', each)
      if (!result) throw new Error('ADD gave no result')
      out(`ADD ${each.id}: ${addressOf(result.result)} in ${milliseconds(start)}\n`)
      added.push(result)
    }
    const [first, second] = added as [(typeof added)[number], (typeof added)[number]]
    out(`\nThe first result:\n${printJson(first.json)}\n\n${picture([first.result, second.result])}\n\n`)

    const gateway = first.result.ips?.[0]?.gateway ?? ''
    const neighbour = addressOf(second.result).split('/')[0]!
    for (const [what, address] of [
      ['the gateway', gateway],
      ['container 2', neighbour],
    ] as const) {
      const time = await ping(containers[0].netns, address)
      if (time === null) throw new Error(`${address} does not answer a ping from container 1`)
      out(`ping from container 1 to ${what}, ${address}: answered in ${time.toFixed(2)} ms\n`)
    }
    await call('CHECK', containers[0], first.json)
    out('CHECK demo-1: everything is as ADD left it\n\n')

    for (const [i, each] of containers.entries()) {
      const start = performance.now()
      await call('DEL', each, added[i]?.json)
      out(`DEL ${each.id}: ${milliseconds(start)}\n`)
    }
    const left = await leftovers(hostNetns, containers, dataDir)
    if (left.length > 0) throw new Error(`left behind: ${left.join(', ')}`)
    out('Left behind: nothing.\n')
  } finally {
    for (const { netns } of containers) netns.close()
    hostNetns.close()
    rmSync(dataDir, { recursive: true, force: true })
  }
}

export const demo = defineCommand({
  name: 'demo',
  summary: 'make two real attachments on throwaway namespaces, ping, and remove them',
  positionals: '',
  description:
    'Needs root, and nothing else: no configuration, no other program. Changes nothing on this machine.',
  options: {},
  async run(_values, _positionals, output) {
    if (process.geteuid?.() !== 0) {
      output.err('linkwright: the demonstration makes network namespaces and needs root\n')
      return 1
    }
    try {
      await run(output)
      return 0
    } catch (error) {
      const { msg, details } = CniError.from(error)
      output.err(`linkwright: ${msg}${details ? `\n  ${details}` : ''}\n`)
      return 1
    }
  },
})
