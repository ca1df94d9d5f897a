import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { expect, onTestFinished, test } from 'vitest'
import {
  accept,
  addChain,
  addElements,
  addRule,
  addSet,
  addTable,
  dnatMap,
  drop,
  fields,
  flushSet,
  jump,
  masquerade,
  match,
  transaction,
} from '../../../netlink/nftables/index.ts'
import { addMasquerade, deleteMasquerade } from '../../../plugins/shared/masquerade-nftables.ts'
import { type Container, type PrivateHost, privateHost, type Space } from '../../support/space.ts'
import { connect } from './connect.ts'

/** A host between a container (10.9.0.2) and an outside (192.0.2.2) that knows nothing of the container's subnet. */
const network = async (): Promise<{ host: PrivateHost; container: Container; outside: Container }> => {
  const host = await privateHost()
  const [container, outside] = [await host.container('inside'), await host.container('outside')]
  for (const [space, name, net] of [
    [container, 'veth-in', '10.9.0'],
    [outside, 'veth-out', '192.0.2'],
  ] as const) {
    await host.ip('link', 'add', name, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', space.sandbox)
    await host.ip('addr', 'add', `${net}.1/24`, 'dev', name)
    await host.ip('link', 'set', name, 'up')
    await space.ip('addr', 'add', `${net}.2/24`, 'dev', 'eth0')
    await space.ip('link', 'set', 'eth0', 'up')
    await space.ip('link', 'set', 'lo', 'up')
  }
  await container.ip('route', 'add', 'default', 'via', '10.9.0.1')
  await host.must('sh', ['-c', 'echo 1 >/proc/sys/net/ipv4/ip_forward'])
  return { host, container, outside }
}

/** Serves one TCP connection after the other in a namespace: each is told who asked. Ends with its namespace. */
const serve = async (space: Space, port: number): Promise<void> => {
  const script = `
    require('node:net').createServer((socket) => socket.end(socket.remoteAddress + '\\n'))
      .listen(${port}, '0.0.0.0', () => process.stdout.write('ready\\n'))
    process.stdin.resume().on('end', () => process.exit())`
  const server = spawn(...space.command(process.execPath, ['-e', script]), {
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  onTestFinished(async () => {
    const gone = once(server, 'close')
    server.stdin.end()
    await gone
  })
  await once(server.stdout, 'data')
}

/** What the server says, or the error's code. */
const ask = async (space: Space, address: string, port: number): Promise<string> => {
  const script = `
    const socket = require('node:net').connect({ host: '${address}', port: ${port}, timeout: 1000 })
    socket.on('data', (data) => process.stdout.write(data))
    socket.on('error', (error) => process.stdout.write(error.code))
    socket.on('timeout', () => { process.stdout.write('timeout'); socket.destroy() })`
  return (await space.must(process.execPath, ['-e', script])).trim()
}

test('a container reaches the outside behind the address of the host', async () => {
  const { host, container, outside } = await network()
  const connection = connect(host)
  const owner = { network: 'net', ifName: 'eth0', containerId: 'one' }
  await serve(outside, 80)
  await serve(host, 81)
  await addMasquerade(connection, { ...owner, addresses: ['10.9.0.2/24'] })
  expect(await ask(container, '192.0.2.2', 80)).toBe('192.0.2.1')
  // Inside the subnet it keeps its own.
  expect(await ask(container, '10.9.0.1', 81)).toBe('10.9.0.2')
  await deleteMasquerade(connection, owner)
  expect(await ask(container, '192.0.2.2', 80)).toBe('timeout')
})

test('ports are mapped through a map, and the container reaches itself through them', async () => {
  const { host, container, outside } = await network()
  const connection = connect(host)
  await serve(container, 80)
  await host.must('sh', ['-c', 'echo 1 >/proc/sys/net/ipv4/conf/veth-in/route_localnet'])
  const t = { family: 'ip', table: 'ports' } as const
  const ports = {
    ...t,
    set: 'hostports',
    key: ['inet_proto', 'inet_service'],
    value: ['ipv4_addr', 'inet_service'],
  } as const
  const translate = { ...t, chain: 'translate' }
  const local = (chain: string, hook: 'prerouting' | 'output') => [
    addChain({ ...t, chain, base: { type: 'nat', hook, priority: -100 } }),
    addRule({ ...t, chain, rule: [match.fibDaddrType('local'), jump('translate')] }),
  ]
  const post = { ...t, chain: 'hairpin' }
  await transaction(connection, [
    addTable(t),
    addSet(ports),
    addElements(ports, [{ key: ['tcp', 8080], value: ['10.9.0.2', 80] }]),
    addChain(translate),
    addRule({
      ...translate,
      rule: [
        dnatMap({ keys: [fields.l4proto, fields.thDport], map: 'hostports', family: 'ip', ports: true }),
      ],
    }),
    ...local('prerouting', 'prerouting'),
    ...local('output', 'output'),
    addChain({ ...post, base: { type: 'nat', hook: 'postrouting', priority: 100 } }),
    addRule({ ...post, rule: [match.ipSaddr('10.9.0.2'), match.ipDaddr('10.9.0.2'), masquerade()] }),
    addRule({ ...post, rule: [match.ipSaddr('127.0.0.1'), match.ipDaddr('10.9.0.2'), masquerade()] }),
  ])
  expect(await ask(outside, '192.0.2.1', 8080)).toBe('192.0.2.2')
  expect(await ask(host, '127.0.0.1', 8080)).toBe('10.9.0.1')
  expect(await ask(container, '192.0.2.1', 8080)).toBe('10.9.0.1')
  await transaction(connection, [flushSet(ports)])
  expect(await ask(outside, '192.0.2.1', 8080)).toBe('ECONNREFUSED')
})

test('a filter by connection state and interface lets answers in and nothing else', async () => {
  const { host, container, outside } = await network()
  const connection = connect(host)
  await outside.ip('route', 'add', '10.9.0.0/24', 'via', '192.0.2.1')
  await serve(outside, 80)
  await serve(container, 80)
  const forward = { family: 'inet', table: 'firewall', chain: 'forward' } as const
  await transaction(connection, [
    addTable(forward),
    addChain({ ...forward, base: { type: 'filter', hook: 'forward', priority: 0 } }),
    addRule({ ...forward, rule: [match.ctState(['established', 'related']), accept()] }),
    addRule({ ...forward, rule: [match.iifname('veth-in'), accept()] }),
    addRule({ ...forward, rule: [match.oifname('veth-in'), drop()] }),
  ])
  expect(await ask(container, '192.0.2.2', 80)).toBe('10.9.0.2')
  expect(await ask(outside, '10.9.0.2', 80)).toBe('timeout')
})
