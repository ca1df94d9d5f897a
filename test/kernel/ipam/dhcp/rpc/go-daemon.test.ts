import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { describe, expect, onTestFinished, test } from 'vitest'
import type { LeaseCall } from '../../../../../ipam/dhcp/lease-keeper.ts'
import { KeeperCannotTell, RemoteKeeper } from '../../../../../ipam/dhcp/rpc/remote.ts'
import { dnsmasq } from '../../../../support/dhcp/dnsmasq.ts'
import { segment } from '../../../../support/dhcp/segment.ts'
import { binDirs } from '../../../../support/plugin.ts'
import { plainEnv } from '../../../../support/program.ts'
import { privateHost } from '../../../../support/space.ts'
import { eventually } from '../../../../support/wait.ts'
import { failure } from '../../../../unit/ipam/dhcp/rpc/fake-keeper.ts'

/** Go's daemon on a node of its own, which gives up early where no server answers. */
const goDaemon = async () => {
  const host = await privateHost()
  const path = '/run/cni/dhcp.sock'
  const args = ['daemon', '-socketpath', path, '-timeout', '200ms', '-resendmax', '1s']
  const [file, rest] = host.command('setpriv', ['--pdeathsig', 'KILL', `${binDirs.go}/dhcp`, ...args])
  const daemon = spawn(file, rest, { env: plainEnv, stdio: 'ignore' })
  const closed = once(daemon, 'close')
  onTestFinished(async () => {
    daemon.kill('SIGKILL')
    await closed
  })
  const outside = host.file(path)
  const keeper = new RemoteKeeper(outside)
  // Its socket is there a moment before it listens.
  const answers = () =>
    keeper.status().then(
      () => true,
      () => false,
    )
  await eventually('the daemon listens', async () => existsSync(outside) && (await answers()))
  const call = (netns: string): LeaseCall => ({
    containerId: 'c1',
    ifName: 'eth0',
    netns,
    args: '',
    conf: { cniVersion: '1.0.0', name: 'lan', ipam: { type: 'dhcp' } },
  })
  return { host, keeper, path: outside, call }
}

describe("Go's daemon, asked by our client", () => {
  test('has nothing against a release of what it does not know', async () => {
    const { keeper, call } = await goDaemon()
    await keeper.release(call('/run/netns/none'))
    await keeper.release(call(''))
  })

  test('says what went wrong, in its words', async () => {
    const { keeper, call } = await goDaemon()
    const { code, msg } = await failure(keeper.allocate(call('/run/netns/none')))
    expect(code).toBe(999)
    expect(msg).toMatch(/^error calling DHCP.Allocate: .*\/run\/netns\/none.*no such file or directory/)
  })

  test('gives up where no server answers: try again later', async () => {
    const { host, keeper, call } = await goDaemon()
    const container = await host.container()
    await container.ip('link', 'add', 'eth0', 'up', 'type', 'veth', 'peer', 'name', 'other')
    await container.ip('link', 'set', 'other', 'up')
    const { code, msg } = await failure(keeper.allocate(call(container.sandbox)))
    expect({ code, msg }).toEqual({ code: 11, msg: 'error calling DHCP.Allocate: no more tries' })
  })

  test('gets a lease from a server, and gives it back', async () => {
    const { host, keeper, call } = await goDaemon()
    const container = await host.container()
    const lan = await segment()
    await lan.plug(container, 'eth0')
    await dnsmasq(lan.space, { range: ['10.77.0.100', '10.77.0.100'] })
    const result = await keeper.allocate(call(container.sandbox))
    expect(result.ips).toEqual([{ address: '10.77.0.100/24', gateway: '10.77.0.1', interface: undefined }])
    expect(result.routes).toMatchObject([{ dst: '0.0.0.0/0', gw: '10.77.0.1' }])
    await keeper.release(call(container.sandbox))
  })

  test('cannot tell a lease, but runs', async () => {
    const { keeper, path, call } = await goDaemon()
    expect(await failure(keeper.check(call('/x')))).toBeInstanceOf(KeeperCannotTell)
    const { msg } = await failure(keeper.list())
    expect(msg).toBe(`the DHCP daemon at ${path} cannot list its leases`)
    await keeper.gc('lan', [])
    expect(await keeper.status()).toEqual({ pid: 0, version: 'go', leases: 0, counters: {} })
  })
})
