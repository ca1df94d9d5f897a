import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it, onTestFinished } from 'vitest'
import { type Action, dispatch, type Invocation } from '../../../cni/dispatch.ts'
import { CniError, codes } from '../../../cni/error.ts'
import type { AnyPlugin, Attachment } from '../../../cni/plugin.ts'
import type { JsonObject, Result } from '../../../cni/types.ts'
import { link } from '../../../netlink/index.ts'
import { address, type FakeConf, fakePlugin, hostWith, invocation, memoryLog } from './fake.ts'

const errorOf = async (promise: Promise<unknown>): Promise<CniError> => {
  try {
    await promise
  } catch (error) {
    if (error instanceof CniError) return error
    throw error
  }
  throw new Error('it succeeded')
}

const call = (
  plugin: AnyPlugin,
  verb: Action,
  conf: JsonObject = {},
  more: Partial<Invocation> = {},
  signal?: AbortSignal,
) => dispatch(plugin, invocation(verb, conf, more), hostWith(plugin), { signal })

const needsContainer = async (attachment: Attachment<FakeConf>): Promise<Result> => {
  attachment.container.close()
  return address
}

describe('one call', () => {
  it('gives a plugin everything and nothing else', async () => {
    let seen: Attachment<FakeConf> | undefined
    const plugin = fakePlugin({
      add: async (attachment) => {
        seen = attachment
        return address
      },
    })
    const conf = { mtu: 1400, cniVersion: '1.0.0', prevResult: { ips: [{ address: '10.0.0.1/8' }] } }
    const added = await call(plugin, 'ADD', conf, { args: 'IP=1;IgnoreUnknown=1' })
    expect(added?.result).toBe(address)
    expect(seen).toMatchObject({
      conf: { name: 'net', mtu: 1400, broken: false },
      rawConf: { name: 'net', ...conf },
      cniVersion: '1.0.0',
      network: 'net',
      containerId: 'cid-1',
      ifName: 'eth0',
      netnsPath: '/nowhere/netns',
      netns: null,
      prevResult: { ips: [{ address: '10.0.0.1/8' }] },
      ipam: null,
    })
    expect(seen?.args.pick(['IP'])).toEqual({ IP: '1' })
    expect(seen?.clock.now()).toBeGreaterThan(1e12)
    expect(seen?.signal.aborted).toBe(false)
  })

  it.each(['CHECK', 'DEL', 'STATUS'] as const)('%s gives nothing back', async (verb) => {
    const plugin = fakePlugin()
    expect(await call(plugin, verb)).toBeNull()
    expect(plugin.journal).toEqual([`fake ${verb}`])
  })

  it.each(['STATUS', 'GC'] as const)('%s succeeds where a plugin has none, after the gate', async (verb) => {
    const plugin = fakePlugin({ status: false, gc: false })
    expect(await call(plugin, verb, { 'cni.dev/valid-attachments': [] })).toBeNull()
    expect((await errorOf(call(plugin, verb, { cniVersion: '1.0.0' }))).code).toBe(1)
  })

  it.each<[Partial<Invocation>, number, string]>([
    [{ containerId: '../x' }, 4, 'invalid characters in containerID'],
    [{ containerId: '' }, 4, 'invalid characters in containerID'],
    [{ ifName: 'a/b' }, 4, 'interface name contains / or : or whitespace characters'],
    [{ netnsPath: '' }, 4, 'required env variables [CNI_NETNS] missing'],
    [{ netnsPath: '/run/netns/a\0b' }, 4, 'CNI parameters must not contain zero bytes'],
  ])('refuses %j before anything is done', async (more, code, msg) => {
    const plugin = fakePlugin()
    expect(await errorOf(call(plugin, 'ADD', {}, more))).toMatchObject({ code, msg })
    expect(plugin.journal).toEqual([])
  })

  it('tells why the namespace can not be had, with code 8', async () => {
    const plugin = fakePlugin({ add: needsContainer })
    const error = await errorOf(call(plugin, 'ADD'))
    expect(error).toMatchObject({ code: 8 })
    expect(error.msg).toMatch(/^failed to open netns "\/nowhere\/netns": .*ENOENT/)
  })

  it('lets a DEL ask for the connection to a namespace that is gone, but not use it', async () => {
    const plugin = fakePlugin({
      del: async ({ container }) => {
        await container.run(link.get(1))
      },
    })
    expect(await errorOf(call(plugin, 'DEL', {}, { netnsPath: '' }))).toMatchObject({
      code: 8,
      msg: 'failed to open netns "": CNI_NETNS is empty',
    })
  })

  it('takes a plain file for a namespace that is gone, as after a reboot', async () => {
    const plugin = fakePlugin({ add: needsContainer })
    expect((await errorOf(call(plugin, 'ADD', {}, { netnsPath: '/etc/passwd' }))).code).toBe(8)
    await call(plugin, 'DEL', {}, { netnsPath: '/etc/passwd' })
    await call(plugin, 'DEL', {}, { netnsPath: '/etc/passwd/x' })
    await call(plugin, 'DEL', {}, { netnsPath: '' })
    expect(plugin.journal.filter((line) => line === 'fake DEL')).toHaveLength(3)
  })

  it('does not wait at a FIFO that stands where a namespace should', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'linkwright-'))
    onTestFinished(() => rmSync(directory, { recursive: true }))
    execFileSync('mkfifo', [join(directory, 'fifo')])
    await call(fakePlugin(), 'DEL', {}, { netnsPath: join(directory, 'fifo') })
  })

  it('reads a broken configuration leniently on DEL, says so, and forgets a broken prevResult', async () => {
    const log = memoryLog()
    let prevResult: unknown = 'unset'
    const plugin = fakePlugin({
      del: async (attachment) => {
        prevResult = attachment.prevResult
        expect(attachment.conf.mtu).toBe(0)
      },
    })
    const host = { ...hostWith(plugin), log }
    await dispatch(
      plugin,
      invocation('DEL', { mtu: 'x', prevResult: { cniVersion: '0.1.0' }, ipam: 5 }),
      host,
    )
    expect(prevResult).toBeNull()
    expect(log.lines).toEqual([
      'prevResult is left out | could not parse prevResult: result type supports [1.0.0 1.1.0] but unmarshalled CNIVersion is "0.1.0"; the configuration\'s cniVersion is "1.1.0"',
      'fake: the default is used for a key | ipam: expected object, got number 5',
      'fake: the default is used for a key | mtu: expected integer, got string "x"',
    ])
  })
})

describe('undo', () => {
  it('runs everything, last first, and keeps the first error', async () => {
    const plugin = fakePlugin({
      add: async ({ undo }) => {
        undo.push('second', () => {
          plugin.journal.push('second')
          throw new Error('EBUSY')
        })
        undo.push('third', async () => {
          plugin.journal.push('third')
        })
        throw new CniError({ code: 123, msg: 'it broke', details: 'badly' })
      },
    })
    const error = await errorOf(call(plugin, 'ADD'))
    expect(error).toMatchObject({
      code: 123,
      msg: 'it broke',
      details: 'badly; could not be undone: second: EBUSY',
    })
    expect(plugin.journal).toEqual(['fake ADD', 'third', 'second', 'fake undo'])
  })

  it('makes any other error code 999', async () => {
    const plugin = fakePlugin({ add: () => Promise.reject(new TypeError('x is not a function')) })
    expect(await errorOf(call(plugin, 'ADD'))).toMatchObject({ code: 999, msg: 'x is not a function' })
    expect(plugin.journal).toEqual(['fake ADD', 'fake undo'])
  })

  it('takes back what the configuration version can not express', async () => {
    const plugin = fakePlugin({ add: async () => ({ interfaces: [{ name: 'eth0' }] }) })
    expect(await errorOf(call(plugin, 'ADD', { cniVersion: '0.2.0' }))).toMatchObject({
      code: 999,
      msg: 'cannot convert: no valid IP addresses',
    })
    expect(plugin.journal).toEqual(['fake ADD', 'fake undo'])
  })

  it('takes back what could not be delivered', async () => {
    const plugin = fakePlugin()
    const deliver = () => Promise.reject(new Error('EPIPE'))
    await errorOf(dispatch(plugin, invocation('ADD'), hostWith(plugin), { deliver }))
    expect(plugin.journal).toEqual(['fake ADD', 'fake undo'])
  })

  it('does nothing after success', async () => {
    const plugin = fakePlugin()
    await call(plugin, 'ADD')
    expect(plugin.journal).toEqual(['fake ADD'])
  })
})

describe('giving up', () => {
  it('does not start', async () => {
    const plugin = fakePlugin()
    const reason = new CniError({ code: codes.tryAgainLater, msg: 'too late' })
    expect(await errorOf(call(plugin, 'ADD', {}, {}, AbortSignal.abort(reason)))).toBe(reason)
    expect(plugin.journal).toEqual([])
  })

  it('stops an ADD at the next thing it does, but not what undoes it', async () => {
    const controller = new AbortController()
    const plugin = fakePlugin({
      add: async ({ exec, undo }) => {
        undo.push('run true', async () => {
          plugin.journal.push(`undo exits ${(await exec('true', [])).status}`)
        })
        controller.abort(new Error('SIGTERM'))
        await exec('touch', ['/nowhere/file'])
        throw new Error('it went on')
      },
    })
    expect(await errorOf(call(plugin, 'ADD', {}, {}, controller.signal))).toMatchObject({
      code: 999,
      msg: 'stopped before it was done: SIGTERM',
    })
    expect(plugin.journal).toEqual(['fake ADD', 'undo exits 0', 'fake undo'])
  })

  it('ends a program that runs', async () => {
    const controller = new AbortController()
    const plugin = fakePlugin({
      add: async ({ exec }) => {
        const running = exec('sleep', ['60'])
        setTimeout(() => controller.abort(new Error('SIGTERM')), 20)
        await running
        throw new Error('it ended by itself')
      },
    })
    expect((await errorOf(call(plugin, 'ADD', {}, {}, controller.signal))).msg).toMatch(/sleep was stopped$/)
  })

  it('takes an ADD back that did not notice', async () => {
    const controller = new AbortController()
    const plugin = fakePlugin({
      add: async () => {
        controller.abort()
        return address
      },
    })
    await errorOf(call(plugin, 'ADD', {}, {}, controller.signal))
    expect(plugin.journal).toEqual(['fake ADD', 'fake undo'])
  })
})

describe('GC', () => {
  const list = [{ containerID: 'a', ifname: 'eth0' }]
  it.each([
    ['cni.dev/valid-attachments', list, ['fake GC a/eth0']],
    ['cni.dev/attachments', list, ['fake GC a/eth0']],
    ['CNI.dev/Valid-Attachments', [{ ContainerID: 'a', IFNAME: 'eth0' }], ['fake GC a/eth0']],
    ['cni.dev/valid-attachments', [], ['fake GC ']],
    ['cni.dev/valid-attachments', null, []],
    ['something', list, []],
  ])('with %s = %j', async (key, value, journal) => {
    const plugin = fakePlugin()
    await call(plugin, 'GC', { [key]: value })
    expect(plugin.journal).toEqual(journal)
  })

  it.each([{}, 'x', [1], [{}], [{ containerID: 'a' }], [{ containerID: 1, ifname: 'x' }], [null]])(
    'refuses the list %j rather than remove what is valid',
    async (value) => {
      const plugin = fakePlugin()
      const error = await errorOf(call(plugin, 'GC', { 'cni.dev/valid-attachments': value }))
      expect(error).toMatchObject({ code: 7, details: 'nothing was removed' })
      expect(plugin.journal).toEqual([])
    },
  )
})

describe('an IPAM plugin of ours', () => {
  const conf = { ipam: { Type: 'pool', subnet: 'x' } }
  const withIpam = (
    use: (attachment: Attachment<FakeConf>) => Promise<void>,
    versions?: readonly string[],
  ) => {
    const journal: string[] = []
    const pool = fakePlugin({ type: 'pool', kind: 'ipam', ...(versions ? { versions } : {}) }, journal)
    const plugin = fakePlugin(
      {
        add: async (attachment) => {
          await use(attachment)
          return (await attachment.ipam?.add()) ?? {}
        },
        del: async (attachment) => attachment.ipam?.del(),
      },
      journal,
    )
    const run = (verb: Action, more: JsonObject = {}) =>
      dispatch(plugin, invocation(verb, { ...conf, ...more }), hostWith(plugin, pool))
    return { journal, run }
  }

  it('is called in process and shares the undo stack', async () => {
    const { journal, run } = withIpam(async () => {})
    expect((await run('ADD'))?.result).toBe(address)
    expect(journal).toEqual(['fake ADD', 'pool ADD'])
    await run('DEL')
    expect(journal.slice(2)).toEqual(['fake DEL', 'pool DEL'])
  })

  it('is undone with the rest', async () => {
    const journal: string[] = []
    const late = fakePlugin(
      {
        add: async ({ ipam }) => {
          await ipam?.add()
          throw new Error('late')
        },
      },
      journal,
    )
    const host = hostWith(fakePlugin({ type: 'pool', kind: 'ipam' }, journal))
    await errorOf(dispatch(late, invocation('ADD', conf), host))
    expect(journal).toEqual(['fake ADD', 'pool ADD', 'pool undo', 'fake undo'])
  })

  it('has its configuration read when it is first looked at', async () => {
    const { journal, run } = withIpam(async ({ ipam }) => {
      journal.push(`${ipam?.type}`)
    })
    expect(await errorOf(run('ADD', { broken: 'yes' }))).toMatchObject({ code: 7 })
    expect(journal).toEqual([])
  })

  it('must speak the version, too', async () => {
    const { journal, run } = withIpam(
      async ({ ipam }) => {
        journal.push(`${ipam?.type}`)
      },
      ['0.4.0'],
    )
    expect(await errorOf(run('ADD'))).toMatchObject({ code: 1, details: expect.stringContaining('"0.4.0"') })
    expect(journal).toEqual(['fake ADD', 'fake undo'])
  })

  it('has none itself', async () => {
    const pool = fakePlugin({
      type: 'pool',
      kind: 'ipam',
      add: async ({ ipam }) => {
        expect(ipam).toBeNull()
        return address
      },
    })
    const plugin = fakePlugin({ add: async ({ ipam }) => (await ipam?.add()) ?? {} })
    const host = hostWith(plugin, pool)
    expect((await dispatch(plugin, invocation('ADD', conf), host))?.result).toBe(address)
    // Executed by an interface plugin that is not ours.
    expect((await dispatch(pool, invocation('ADD', conf), host))?.result).toBe(address)
  })

  it('is asked for STATUS and GC only in versions that have them', async () => {
    const journal: string[] = []
    const pool = fakePlugin({ type: 'pool', kind: 'ipam' }, journal)
    const asking: AnyPlugin = {
      ...fakePlugin(),
      del: async ({ ipam }) => {
        await ipam?.status()
        await ipam?.gc([])
      },
    }
    await dispatch(asking, invocation('DEL', { ...conf, cniVersion: '1.0.0' }), hostWith(asking, pool))
    expect(journal).toEqual([])
    await dispatch(asking, invocation('DEL', conf), hostWith(asking, pool))
    expect(journal).toEqual(['pool STATUS', 'pool GC '])
  })
})

describe('an IPAM plugin that is a plugin of ours, but none for IPAM', () => {
  const journal: string[] = []
  const other = fakePlugin({ type: 'other' }, journal)
  const pool = fakePlugin({ type: 'pool', kind: 'ipam' }, journal)
  const asking = fakePlugin(
    {
      add: async ({ ipam }) => (await ipam?.add()) ?? {},
      del: async ({ ipam }) => ipam?.del(),
    },
    journal,
  )
  const checking: AnyPlugin = {
    ...asking,
    check: async ({ ipam }) => ipam?.check(),
    status: async ({ ipam }) => ipam?.status(),
    gc: async ({ ipam }, valid) => ipam?.gc(valid),
  }
  const conf = { ipam: { type: 'other' }, 'cni.dev/valid-attachments': [] }
  const run = (verb: Action) => dispatch(checking, invocation(verb, conf), hostWith(checking, other, pool))

  it.each<Action>(['ADD', 'CHECK', 'STATUS'])('is refused by %s, and not called', async (verb) => {
    journal.length = 0
    expect(await errorOf(run(verb))).toMatchObject({
      code: 7,
      msg: 'ipam.type "other" is not an IPAM plugin',
      details: 'name one that assigns addresses, such as pool',
    })
    expect(journal.filter((line) => line.startsWith('other'))).toEqual([])
  })

  it.each<Action>(['DEL', 'GC'])('is passed over by %s', async (verb) => {
    journal.length = 0
    await run(verb)
    expect(journal.filter((line) => line.startsWith('other'))).toEqual([])
  })
})
