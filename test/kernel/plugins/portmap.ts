/** Traffic to mapped ports: servers in containers that say who they are and whom they see, and clients anywhere. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { onTestFinished } from 'vitest'
import type { JsonObject } from '../../../cni/types.ts'
import type { PrintedResult } from '../../support/plugin.ts'
import { plainEnv } from '../../support/program.ts'
import { type Container, type Space, space } from '../../support/space.ts'
import { type Node, node } from './node.ts'

const serverScript = `
const [name, ...ports] = process.argv.slice(1)
const text = (address) => name + ' ' + address.replace('::ffff:', '')
const ready = []
for (const port of ports.map(Number)) {
  const tcp = require('node:net').createServer((socket) => {
    socket.on('error', () => {})
    socket.end(text(socket.remoteAddress ?? ''))
  })
  ready.push(new Promise((done) => tcp.listen({ port, host: '::' }, done)))
  const udp = require('node:dgram').createSocket('udp6')
  udp.on('message', (data, from) => udp.send(text(from.address), from.port, from.address))
  ready.push(new Promise((done) => udp.bind(port, '::', done)))
}
Promise.all(ready).then(() => console.log('ready'))
process.stdin.resume().on('end', () => process.exit())
`

const clientScript = `
const kept = new Map()
const answers = {
  tcp: ({ ip, port }, done) => {
    let text = ''
    const socket = require('node:net').connect(port, ip)
    socket.on('data', (data) => { text += data })
    socket.on('end', () => done(text))
    socket.on('error', (error) => done(error.code))
    return () => socket.destroy()
  },
  udp: ({ ip, port, keep }, done) => {
    const known = keep && kept.get(keep)
    const socket = known ?? require('node:dgram').createSocket(ip.includes(':') ? 'udp6' : 'udp4')
    socket.removeAllListeners('message').removeAllListeners('error')
    socket.on('message', (data) => done(String(data)))
    socket.on('error', (error) => done(error.code))
    const send = () => socket.send('?', (error) => { if (error) done(error.code) })
    if (known) send()
    else socket.connect(port, ip, (error) => (error ? done(error.code) : send()))
    if (keep) kept.set(keep, socket)
    return () => { if (!keep) socket.close() }
  },
}
require('node:readline').createInterface({ input: process.stdin }).on('line', (line) => {
  const probe = JSON.parse(line)
  let end
  let over = false
  const done = (answer) => {
    if (over) return
    over = true
    clearTimeout(timer)
    process.stdout.write(JSON.stringify({ id: probe.id, answer }) + '\\n')
    setImmediate(() => end())
  }
  const timer = setTimeout(() => done('silence'), probe.timeout)
  end = answers[probe.protocol](probe, done)
}).on('close', () => process.exit())
`

/** Runs a script in a namespace until the test is over. */
const start = (where: Space, script: string, args: readonly string[]): ChildProcess => {
  const [file, words] = where.command(process.execPath, ['-e', script, ...args])
  const child = spawn(file, words, { env: plainEnv, stdio: ['pipe', 'pipe', 'inherit'] })
  onTestFinished(async () => {
    if (child.exitCode !== null || child.signalCode !== null) return
    const gone = once(child, 'close')
    child.kill('SIGKILL')
    await gone
  })
  return child
}

/** A server for TCP and UDP, IPv4 and IPv6, that answers with its name and the address it sees. */
export const serve = async (where: Space, name: string, ...ports: number[]): Promise<void> => {
  const child = start(where, serverScript, [name, ...ports.map(String)])
  const [first] = await Promise.race([once(child.stdout!, 'data'), once(child, 'close')])
  if (!String(first).startsWith('ready')) throw new Error(`the server ${name} does not listen`)
}

export interface Probe {
  readonly protocol?: 'tcp' | 'udp'
  readonly ip: string
  readonly port: number
  /** Goes on with the UDP socket of this name. */
  readonly keep?: string
  /** Milliseconds until it is silence. Default 3000. */
  readonly timeout?: number
}

/** Asks a server: what it says, the code of an error, or `silence`. */
export type Ask = (probe: Probe) => Promise<string>

/** One client process in a namespace. */
export const client = (where: Space): Ask => {
  const child = start(where, clientScript, [])
  const waiting = new Map<number, (answer: string) => void>()
  createInterface({ input: child.stdout! }).on('line', (line) => {
    const { id, answer } = JSON.parse(line) as { id: number; answer: string }
    waiting.get(id)?.(answer)
    waiting.delete(id)
  })
  let last = 0
  return (probe) =>
    new Promise((resolve) => {
      const id = ++last
      waiting.set(id, resolve)
      child.stdin!.write(`${JSON.stringify({ protocol: 'tcp', timeout: 3000, ...probe, id })}\n`)
    })
}

/** Addresses of the host and of the other host. */
export const outside = {
  4: { host: '192.0.2.1', other: '192.0.2.2' },
  6: { host: '2001:db8::1', other: '2001:db8::2' },
} as const

/** Another host, on a wire to the node. */
export const otherHost = async ({ host }: Node): Promise<Space> => {
  const other = await space()
  await host.ip('link', 'add', 'uplink', 'type', 'veth', 'peer', 'name', 'eth0', 'netns', String(other.pid))
  for (const [where, name, side] of [
    [host, 'uplink', 'host'],
    [other, 'eth0', 'other'],
  ] as const) {
    await where.ip('address', 'add', `${outside[4][side]}/24`, 'dev', name)
    await where.ip('address', 'add', `${outside[6][side]}/64`, 'dev', name, 'nodad')
    await where.ip('link', 'set', name, 'up')
  }
  return other
}

/** A container on a bridge with both families, and the result of its ADD. */
export interface Attached {
  readonly container: Container
  readonly containerId: string
  readonly prevResult: PrintedResult
}

/**
 * Attaches a container, by ADD of an interface plugin. With br_netfilter a packet for the container itself turns round
 * in the bridge, which has to send it back where it came from (hairpinMode). Addresses: 10.22.0.`n` and fd00:22::`n`, on a bridge (default) or a wire of its own.
 */
export const attached = async (it: Node, n: number, conf: JsonObject = {}): Promise<Attached> => {
  const containerId = `cid-${n}`
  const container = await it.host.container(containerId)
  const prevResult = await it.add(
    {
      ...(conf.type === 'ptp' ? {} : { bridge: 'cni0', isGateway: true, hairpinMode: true }),
      ...conf,
      ipam: {
        type: 'static',
        addresses: [
          { address: `10.22.0.${n}/16`, gateway: '10.22.0.1' },
          { address: `fd00:22::${n}/64`, gateway: 'fd00:22::1' },
        ],
        routes: [{ dst: '0.0.0.0/0' }, { dst: '::/0' }],
      },
    },
    { container, containerId },
  )
  return { container, containerId, prevResult }
}

export interface Mapping {
  readonly hostPort: number
  readonly containerPort: number
  readonly protocol?: string
  readonly hostIP?: string
}

/** The configuration of portmap with its mappings. */
export const portmapConf = (mappings: readonly Mapping[], more: JsonObject = {}): JsonObject => ({
  type: 'portmap',
  capabilities: { portMappings: true },
  runtimeConfig: { portMappings: mappings as unknown as JsonObject[] },
  ...more,
})

export const tcp = (hostPort: number, containerPort: number, hostIP?: string): Mapping => ({
  ...{ hostPort, containerPort, protocol: 'tcp' },
  ...(hostIP === undefined ? {} : { hostIP }),
})
export const udp = (hostPort: number, containerPort: number): Mapping => ({
  ...{ hostPort, containerPort, protocol: 'udp' },
})

/** A node with another host. */
export const site = async () => {
  const it = await node()
  return { it, host: it.host, other: await otherHost(it) }
}
