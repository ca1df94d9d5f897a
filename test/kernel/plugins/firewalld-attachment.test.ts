/** Attachments behind a real firewalld, in chains that the command line runs. */
import { fileURLToPath } from 'node:url'
import { beforeAll, expect, test } from 'vitest'
import type { JsonObject } from '../../../cni/types.ts'
import { firewalldOf } from '../../../plugins/firewall/firewalld.ts'
import type { Container } from '../../support/space.ts'
import { type FirewalldHost, firewalldHost } from './firewalld-host.ts'
import { classic } from './node.ts'

const linkwright = fileURLToPath(new URL('../../../dist/cli/linkwright.cjs', import.meta.url))

let there: FirewalldHost

beforeAll(async () => {
  there = await firewalldHost()
  const { host } = there
  // Beyond the host: firewalld forwards nothing to there by itself.
  const outside = await host.container('outside')
  await host.ip('link', 'add', 'out0', 'type', 'veth', 'peer', 'name', 'in0', 'netns', 'outside')
  await host.ip('addr', 'add', '192.0.2.1/24', 'dev', 'out0')
  await host.ip('link', 'set', 'out0', 'up')
  await outside.ip('link', 'set', 'lo', 'up')
  await outside.ip('addr', 'add', '192.0.2.2/24', 'dev', 'in0')
  await outside.ip('link', 'set', 'in0', 'up')
  await there.startFirewalld()
})

const chainOf = (container: Container, firewall: JsonObject) => {
  const plugins = [
    { type: 'bridge', ...classic, bridge: 'cni0' },
    { type: 'firewall', ...firewall },
  ]
  const input = JSON.stringify({ cniVersion: '1.0.0', name: 'net', plugins })
  return (verb: string) =>
    there.host.run(process.execPath, [linkwright, verb, '-', container.sandbox], { input })
}

const zoneOf = async (source: string): Promise<string | null> => {
  const firewalld = await firewalldOf({ socket: there.socket })
  try {
    return (await firewalld?.zoneOfSource(source)) ?? null
  } finally {
    firewalld?.close()
  }
}

const added = async (
  call: (verb: string) => Promise<{ status: number | null; stdout: string }>,
): Promise<string> => {
  const { status, stdout } = await call('add')
  expect(status, stdout).toBe(0)
  const { ips } = JSON.parse(stdout) as { ips: [{ address: string }] }
  return ips[0].address.replace('/16', '/32')
}

test('without the plugin firewalld lets nothing through, with it everything, until a reload', async () => {
  const container = await there.host.container('blue')
  const call = chainOf(container, { backend: 'firewalld' })
  const source = await added(call)
  expect(await zoneOf(source)).toBe('trusted')
  expect(await container.ping('192.0.2.2')).toBe(true)
  expect((await call('check')).status).toBe(0)

  await there.firewallCmd('--reload')
  expect(await zoneOf(source)).toBeNull()
  expect(await container.ping('192.0.2.2', 1)).toBe(false)
  const { status, stderr } = await call('check')
  expect([status, stderr]).toEqual([1, expect.stringContaining(`${source} is no source of zone trusted`)])

  const repaired = await there.host.must(process.execPath, [linkwright, 'reconcile', '--json'])
  expect(JSON.parse(repaired)).toMatchObject([
    { repairs: expect.arrayContaining([expect.objectContaining({ type: 'firewall' })]), errors: [] },
  ])
  expect(await zoneOf(source)).toBe('trusted')
  expect(await container.ping('192.0.2.2')).toBe(true)
  expect((await call('check')).status).toBe(0)

  expect((await call('del')).status).toBe(0)
  expect(await zoneOf(source)).toBeNull()
  expect((await call('del')).status).toBe(0)
})

test('where the configuration names no backend firewalld is found, and the zone is its own', async () => {
  const container = await there.host.container('red')
  const call = chainOf(container, { firewalldZone: 'internal' })
  const source = await added(call)
  expect(await zoneOf(source)).toBe('internal')
  expect((await call('check')).status).toBe(0)
  expect((await call('del')).status).toBe(0)
  expect(await zoneOf(source)).toBeNull()
})

test('an ADD that firewalld refuses leaves nothing', async () => {
  const container = await there.host.container('green')
  const call = chainOf(container, { backend: 'firewalld', firewalldZone: 'nozone' })
  const { status, stderr } = await call('add')
  expect([status, stderr]).toEqual([1, expect.stringContaining('firewalld has no zone "nozone"')])
  expect(await container.must('ip', ['-o', 'link'])).not.toContain('eth0')
  const left = await there.host.must('sh', ['-c', 'ip -o link; find /var/lib/cni/networks -name "10.*"'])
  expect(left).not.toMatch(/veth|10\.22\.0\.\d/)
})
