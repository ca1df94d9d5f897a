import { closeSync, openSync, readdirSync, readlinkSync } from 'node:fs'
import { describe, expect, it, onTestFinished } from 'vitest'
import { runChain } from '../../../cni/chain.ts'
import { parseConfList } from '../../../cni/conflist.ts'
import { dispatch, type Host } from '../../../cni/dispatch.ts'
import type { CniError } from '../../../cni/error.ts'
import type { AnyPlugin } from '../../../cni/plugin.ts'
import { createExec } from '../../../cni/spawn.ts'
import { link } from '../../../netlink/index.ts'
import { Netns } from '../../../netlink/netns.ts'
import { space } from '../../support/space.ts'
import { address, fakePlugin, hostWith, invocation } from '../../unit/cni/fake.ts'
import { ForeignPlugin } from '../../unit/cni/foreign.ts'

/** A namespace that plays the host, and one that plays a container of it. */
const node = async (...plugins: readonly AnyPlugin[]) => {
  const [hostSpace, container] = [await space(), await space()]
  const hostNetns = Netns.open(hostSpace.path)
  onTestFinished(() => hostNetns.close())
  const host: Host = { ...hostWith(...plugins), hostNetns }
  return { hostSpace, container, host, hostNetns }
}
/** What this process holds open of sockets and namespaces. */
const sockets = () =>
  readdirSync('/proc/self/fd')
    .map((fd) => {
      try {
        return readlinkSync(`/proc/self/fd/${fd}`)
      } catch {
        return ''
      }
    })
    .filter((target) => /^(?:socket|net):/.test(target))

const errorOf = (promise: Promise<unknown>): Promise<CniError> =>
  promise.then(
    () => Promise.reject(new Error('it succeeded')),
    (error: CniError) => error,
  )

describe.each([true, false])('with exchanges on the calling thread: %s', (sync) => {
  it('connects a plugin to both namespaces, and closes everything', async () => {
    const plugin = fakePlugin({
      add: async ({ host, container }) => {
        await host.run(link.add({ name: 'br-host', kind: 'bridge' }))
        await container.run(link.set('lo', { up: true }))
        return address
      },
    })
    const { hostSpace, container, host } = await node(plugin)
    const call = () =>
      dispatch(plugin, invocation('ADD', {}, { netnsPath: container.path }), { ...host, sync })
    const before = sockets()
    await call()
    // The second fails: the bridge is there.
    expect((await errorOf(call())).msg).toContain('EEXIST')
    expect(sockets().filter((target) => !before.includes(target))).toEqual([])
    expect(await hostSpace.ipJson('link', 'show', 'br-host')).toHaveLength(1)
    expect(await container.ipJson('link', 'show', 'lo')).toMatchObject([
      { flags: expect.arrayContaining(['UP']) },
    ])
  })

  it('refuses the next exchange once the caller has given up, but lets undoing go on', async () => {
    const controller = new AbortController()
    const plugin = fakePlugin({
      add: async ({ host, undo }) => {
        await host.run(link.add({ name: 'br-host', kind: 'bridge' }))
        undo.push('remove br-host', () => host.run(link.delete('br-host')))
        controller.abort(new Error('SIGTERM'))
        await host.run(link.add({ name: 'br-more', kind: 'bridge' }))
        return address
      },
    })
    const { hostSpace, container, host } = await node(plugin)
    const call = invocation('ADD', {}, { netnsPath: container.path })
    const error = await errorOf(dispatch(plugin, call, { ...host, sync }, { signal: controller.signal }))
    expect(error).toMatchObject({ code: 999, msg: 'stopped before it was done: SIGTERM', details: undefined })
    expect((await hostSpace.ipJson<{ ifname: string }>('link')).map(({ ifname }) => ifname)).toEqual(['lo'])
  })
})

describe("a container in the host's own namespace", () => {
  it.each(['ADD', 'DEL'] as const)('is refused on %s before anything is done', async (verb) => {
    const plugin = fakePlugin()
    const { hostSpace, host } = await node(plugin)
    const error = await errorOf(dispatch(plugin, invocation(verb, {}, { netnsPath: hostSpace.path }), host))
    expect(error).toMatchObject({
      code: 8,
      msg: "plugin's netns and netns from CNI_NETNS should not be the same",
    })
    expect(plugin.journal).toEqual([])
  })

  it("means the process's own where no other plays the host", async () => {
    const plugin = fakePlugin()
    const call = invocation('ADD', {}, { netnsPath: '/proc/self/ns/net' })
    expect((await errorOf(dispatch(plugin, call, hostWith(plugin)))).code).toBe(8)
    expect(plugin.journal).toEqual([])
  })

  it('is refused for a whole chain', async () => {
    const plugin = fakePlugin()
    const { hostSpace, host } = await node(plugin)
    const network = parseConfList('{"cniVersion":"1.0.0","name":"net","plugins":[{"type":"fake"}]}')
    const where = { containerId: 'c', ifName: 'eth0', netnsPath: hostSpace.path, cacheDir: null }
    expect((await errorOf(runChain({ verb: 'ADD', network, host, ...where }))).code).toBe(8)
    expect(plugin.journal).toEqual([])
  })

  it('is allowed where it is asked for, and on CHECK', async () => {
    const plugin = fakePlugin()
    const { hostSpace, host } = await node(plugin)
    const more = { netnsPath: hostSpace.path, netnsOverride: true }
    await dispatch(plugin, invocation('ADD', {}, more), host)
    await dispatch(plugin, invocation('CHECK', {}, { netnsPath: hostSpace.path }), host)
    await dispatch(plugin, invocation('DEL', {}, more), host)
    expect(plugin.journal).toEqual(['fake ADD', 'fake CHECK', 'fake DEL'])
  })
})

describe('programs', () => {
  it("run in the host's namespace", async () => {
    const { hostSpace, hostNetns } = await node()
    await hostSpace.ip('link', 'add', 'br-mark', 'type', 'bridge')
    const exec = createExec({ hostNetns, environment: { PATH: process.env.PATH ?? '' } })
    const { stdout, status } = await exec('ip', ['-o', 'link', 'show', 'br-mark'])
    expect(status).toBe(0)
    expect(stdout).toContain('br-mark')
    await expect(exec('no-such-program', [])).rejects.toMatchObject({ code: 'ENOENT' })
    await expect(exec('/nowhere/program', [])).rejects.toMatchObject({ code: 'ENOENT' })
    const { stdout: own } = await createExec({ hostNetns: Netns.current() })('ip', ['-o', 'link'])
    expect(own).not.toContain('br-mark')
  })

  it('are waited for while they are being written', async () => {
    const { hostNetns } = await node()
    const { file } = new ForeignPlugin('busy', { stdout: 'done' })
    const exec = createExec({ hostNetns, environment: { PATH: process.env.PATH ?? '' } })
    const fd = openSync(file, 'r+')
    const running = exec(file, [])
    setTimeout(() => closeSync(fd), 100)
    expect((await running).stdout).toBe('done')
  })

  it('that are foreign plugins do, too', async () => {
    const { hostSpace, container, host } = await node()
    await hostSpace.ip('link', 'add', 'br-mark', 'type', 'bridge')
    const foreign = new ForeignPlugin('other', {
      stdout: '{}',
      verbs: { ADD: 'ip -o link show br-mark > "$0.seen"', DEL: 'exit 0' },
    })
    const network = parseConfList('{"cniVersion":"1.0.0","name":"net","plugins":[{"type":"other"}]}')
    const where = { containerId: 'c', ifName: 'eth0', netnsPath: container.path, cacheDir: null }
    await runChain({ verb: 'ADD', network, host, path: foreign.directory, ...where })
    expect(readdirSync(foreign.directory)).toContain('other.seen')
  })
})
