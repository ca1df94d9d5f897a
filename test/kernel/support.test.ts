import { existsSync, readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { binDirs, mustRunPlugin, runPlugin } from '../support/plugin.ts'
import { privateHost } from '../support/space.ts'
import { kernelState } from '../support/state.ts'
import { settled } from '../support/wait.ts'

const conf = {
  cniVersion: '1.0.0',
  name: 'supported',
  type: 'bridge',
  bridge: 'cni0',
  isGateway: true,
  ipMasq: true,
  ipam: { type: 'host-local', subnet: '10.22.0.0/16', routes: [{ dst: '0.0.0.0/0' }] },
}

/** One ADD of the Go bridge plugin on a host of its own. */
const attached = async () => {
  const host = await privateHost()
  const container = await host.container()
  const call = { host, binDir: binDirs.go, type: 'bridge', conf, netns: container }
  const result = await mustRunPlugin({ ...call, command: 'ADD' })
  await Promise.all([settled(host), settled(container)])
  return { host, container, call, result }
}

describe('the helpers that the other tests stand on', () => {
  test('a plugin run on a private host changes that host only', async () => {
    const { host, container, call, result } = await attached()
    expect(result.ips?.[0]?.address).toBe('10.22.0.2/16')
    expect(result.interfaces?.[2]).toMatchObject({ name: 'eth0', sandbox: '/run/netns/blue' })
    expect(await container.ping('10.22.0.1')).toBe(true)
    expect(readFileSync(host.file('/var/lib/cni/networks/supported/10.22.0.2'), 'utf8')).toBe('cid-1\r\neth0')
    expect(existsSync('/var/lib/cni/networks/supported')).toBe(false)
    const { status } = await runPlugin({ ...call, command: 'DEL' })
    expect(status).toBe(0)
  })

  test('two runs of the same leave the same comparable state', async () => {
    const [one, two] = await Promise.all([attached(), attached()])
    expect(await kernelState(one.host)).toEqual(await kernelState(two.host))
    expect(await kernelState(one.container)).toEqual(await kernelState(two.container))
  })

  test('a state tells what an attachment did', async () => {
    const fresh = await kernelState(await privateHost())
    const { host } = await attached()
    const state = await kernelState(host)
    for (const part of ['links', 'routes', 'fdb', 'nft', 'iptables', 'sysctls'] as const)
      expect(state[part], part).not.toEqual(fresh[part])
  })

  test('what a plugin refuses is its error', async () => {
    const host = await privateHost()
    const { status, error } = await runPlugin({
      host,
      binDir: binDirs.go,
      type: 'bridge',
      command: 'ADD',
      conf: '{',
      netns: '/proc/self/ns/net',
    })
    expect(status).toBe(1)
    expect(error?.code).toBe(6)
  })

  test('a namespace ends with its test', async () => {
    const host = await privateHost()
    const container = await host.container('red')
    await container.close()
    expect(existsSync(host.file('/run/netns/red'))).toBe(false)
    expect(existsSync(container.path)).toBe(false)
    await host.close()
    expect(existsSync(host.path)).toBe(false)
  })
})
