/** The bridge in chains with plugins that are not ours, as the command line runs them. */
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import { binDirs, type PrintedResult } from '../../support/plugin.ts'
import { type Container, type PrivateHost, privateHost } from '../../support/space.ts'
import { classic, linkOf } from './node.ts'

const linkwright = fileURLToPath(new URL('../../../dist/cli/linkwright.cjs', import.meta.url))

const chained = async (...plugins: readonly unknown[]) => {
  const host = await privateHost()
  const container = await host.container()
  const list = JSON.stringify({
    cniVersion: '1.0.0',
    name: 'net',
    plugins: [{ type: 'bridge', ...classic }, ...plugins],
  })
  const call = async (verb: string, ...args: string[]): Promise<PrintedResult | null> => {
    const options = ['--cni-path', binDirs.go, ...args]
    const text = await host.must(process.execPath, [linkwright, verb, '-', container.sandbox, ...options], {
      input: list,
    })
    return text.trim() === '' ? null : (JSON.parse(text) as PrintedResult)
  }
  return { host, container, call }
}

const nothingIsLeft = async (host: PrivateHost, container: Container): Promise<void> => {
  const script = 'ip -o link; nft list ruleset; find /var/lib/cni -type f ! -name lock ! -name "last_*"'
  const lines = (await host.must('sh', ['-c', script])).split('\n')
  expect(lines.filter((line) => /veth|saddr [^&]|10\.22|\/(results|networks)\//.test(line))).toEqual([])
  expect(await container.must('ip', ['-o', 'link'])).not.toContain('eth0')
}

test('a tuned interface is checked as it is', async () => {
  const { host, container, call } = await chained({
    type: 'tuning',
    mtu: 1280,
    mac: '02:11:22:33:44:55',
    sysctl: { 'net.ipv4.conf.eth0.arp_filter': '1' },
  })
  const result = await call('add')
  expect(result?.interfaces?.[2]).toMatchObject({ name: 'eth0', mac: '02:11:22:33:44:55' })
  expect(await linkOf(container, 'eth0')).toMatchObject({ mtu: 1280, address: '02:11:22:33:44:55' })
  await call('check')
  await call('del')
  await nothingIsLeft(host, container)
  await call('del')
})

test('a port map', async () => {
  const { host, container, call } = await chained({
    type: 'portmap',
    capabilities: { portMappings: true },
    snat: true,
  })
  const portMappings = [{ hostPort: 8080, containerPort: 80, protocol: 'tcp' }]
  const capabilities = ['--capability-args', JSON.stringify({ portMappings })]
  await call('add', ...capabilities)
  const rules = () => host.must('nft', ['list', 'ruleset'])
  expect(await rules()).toMatch(/tcp \. 8080 .* : 10\.22\.0\.2 \. 80/)
  await call('check', ...capabilities)
  await call('del', ...capabilities)
  await nothingIsLeft(host, container)
  expect(await rules()).not.toContain('8080')
})

test('a plugin that fails behind it takes it along', async () => {
  const { host, container, call } = await chained({
    type: 'tuning',
    sysctl: { 'net.ipv4.conf.nowhere.x': '1' },
  })
  await expect(call('add')).rejects.toThrow(/tuning/)
  await nothingIsLeft(host, container)
  expect((await host.ipJson('link', 'show', 'type', 'bridge')).length).toBe(0)
})
