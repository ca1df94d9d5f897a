import { describe, expect, onTestFinished, test } from 'vitest'
import { CniError, codes } from '../../../../../cni/error.ts'
import type { Result } from '../../../../../cni/types.ts'
import type { LeaseKeeper } from '../../../../../ipam/dhcp/lease-keeper.ts'
import { serveKeeper } from '../../../../../ipam/dhcp/rpc/server.ts'
import { binDirs, runPlugin } from '../../../../support/plugin.ts'
import { privateHost } from '../../../../support/space.ts'
import { fakeKeeper, stubborn } from '../../../../unit/ipam/dhcp/rpc/fake-keeper.ts'

const conf = { cniVersion: '1.0.0', name: 'lan', type: 'macvlan', ipam: { type: 'dhcp' } }

/** Go's plugin on a node where our server listens. */
const node = async (over: Partial<LeaseKeeper> = {}) => {
  const host = await privateHost()
  const { keeper, asked } = fakeKeeper(over)
  const server = await serveKeeper(keeper, { listen: { path: host.file('/run/cni/dhcp.sock') } })
  onTestFinished(() => server.close(0))
  const container = await host.container()
  const plugin = (command: string, more: { started?: (pid: number) => void } = {}) =>
    runPlugin({
      host,
      binDir: binDirs.go,
      type: 'dhcp',
      command,
      conf,
      netns: container,
      args: 'IgnoreUnknown=1;A=b',
      ...more,
    })
  return { plugin, asked, container }
}

const leased: Result = {
  ips: [{ address: '192.168.1.5/24', gateway: '192.168.1.1' }],
  routes: [
    { dst: '0.0.0.0/0', gw: '192.168.1.1' },
    { dst: '10.0.0.0/8', gw: '192.168.1.254' },
  ],
  dns: { nameservers: ['192.168.1.1'], domain: 'example', search: ['a.example'] },
}

describe("Go's plugin, answered by our server", () => {
  test('prints the result that the keeper gave', async () => {
    const { plugin, asked, container } = await node({ allocate: async () => leased })
    const { result, stdout } = await plugin('ADD')
    expect(result, stdout).toEqual({
      cniVersion: '1.0.0',
      ips: [{ address: '192.168.1.5/24', gateway: '192.168.1.1' }],
      routes: leased.routes,
      dns: { nameservers: ['192.168.1.1'], domain: 'example', search: ['a.example'] },
    })
    const call = { containerId: 'cid-1', ifName: 'eth0', netns: container.sandbox, conf }
    expect(asked).toEqual([['allocate', { ...call, args: 'IgnoreUnknown=1;A=b' }]])
  })

  test('prints an IPv6 result', async () => {
    const ips = [{ address: '2001:db8::5/64' }, { address: '192.168.1.5/32' }]
    const { plugin } = await node({ allocate: async () => ({ ips }) })
    expect((await plugin('ADD')).result?.ips).toEqual(ips)
  })

  test('says the words that its callers know where no server gave a lease', async () => {
    const { plugin } = await node({
      allocate: async () => {
        throw new CniError({ code: codes.tryAgainLater, msg: 'no server has offered anything', details: 'x' })
      },
    })
    expect((await plugin('ADD')).error?.msg).toBe('error calling DHCP.Allocate: no more tries')
  })

  test("says the keeper's own words otherwise", async () => {
    const { plugin } = await node({
      allocate: async () => {
        throw new CniError({ code: codes.unknownContainer, msg: 'there is no eth0' })
      },
    })
    expect((await plugin('ADD')).error?.msg).toBe('error calling DHCP.Allocate: there is no eth0')
  })

  test('releases', async () => {
    const { plugin, asked } = await node()
    expect((await plugin('DEL')).status).toBe(0)
    expect(asked).toMatchObject([['release', { containerId: 'cid-1', conf }]])
  })

  test('is killed: the keeper is told to give up', async () => {
    const waiting = stubborn()
    const { plugin } = await node({ allocate: waiting.allocate })
    let pid = 0
    const started = (of: number) => {
      pid = of
    }
    const run = plugin('ADD', { started })
    await waiting.started
    process.kill(pid, 'SIGKILL')
    await waiting.ended
    expect((await run).signal).toBe('SIGKILL')
  })
})
