import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { writeCache } from '../../../cni/cache.ts'
import { type ChainOptions, runChain } from '../../../cni/chain.ts'
import { parseConfList } from '../../../cni/conflist.ts'
import { CniError } from '../../../cni/error.ts'
import type { AnyPlugin, Attachment } from '../../../cni/plugin.ts'
import type { Result } from '../../../cni/types.ts'
import { address, type FakeConf, fakePlugin, hostWith, memoryLog } from './fake.ts'
import { type Behaviour, ForeignPlugin, temporaryDirectory } from './foreign.ts'

const errorOf = async (promise: Promise<unknown>): Promise<CniError> => {
  try {
    await promise
  } catch (error) {
    if (error instanceof CniError) return error
    throw error
  }
  throw new Error('it succeeded')
}

interface SetUp {
  readonly plugins: readonly AnyPlugin[]
  readonly list?: object
  readonly confs: readonly object[]
}

const setUp = ({ plugins, confs, list = {} }: SetUp) => {
  const cacheDir = temporaryDirectory()
  const log = memoryLog()
  const text = JSON.stringify({ cniVersion: '1.1.0', name: 'net', plugins: confs, ...list })
  const run = (verb: ChainOptions['verb'], more: Partial<ChainOptions> = {}) =>
    runChain({
      verb,
      network: parseConfList(text),
      containerId: 'cid-1',
      ifName: 'eth0',
      netnsPath: '/nowhere/netns',
      path: '/nowhere/bin',
      cacheDir,
      host: { ...hostWith(...plugins), log },
      ...more,
    })
  const file = join(cacheDir, 'results', 'net-cid-1-eth0')
  return { run, log, cacheDir, file, text }
}

/** Two plugins of ours that keep one journal; the second passes on what the first has given. */
const pair = (add?: (attachment: Attachment<FakeConf>) => Promise<Result>) => {
  const journal: string[] = []
  const one = fakePlugin({ type: 'one' }, journal)
  const two = fakePlugin({ type: 'two', add: add ?? (async ({ prevResult }) => prevResult ?? {}) }, journal)
  return { journal, one, two, ...setUp({ plugins: [one, two], confs: [{ type: 'one' }, { type: 'two' }] }) }
}

describe('a chain of ours', () => {
  it('adds in order, passes results on, and remembers the last', async () => {
    const { run, journal, file, text } = pair()
    const added = await run('ADD', { args: 'K=V', capabilityArgs: { x: 1 } })
    expect(added?.result).toBe(address)
    expect(added?.json).toMatchObject({ cniVersion: '1.1.0', ips: [{ address: '10.1.0.2/16' }] })
    expect(journal).toEqual(['one ADD', 'two ADD'])
    const cached = JSON.parse(readFileSync(file, 'utf8'))
    expect(cached).toMatchObject({
      kind: 'cniCacheV1',
      containerId: 'cid-1',
      ifName: 'eth0',
      networkName: 'net',
      netns: '/nowhere/netns',
      cniArgs: [['K', 'V']],
      capabilityArgs: { x: 1 },
      result: JSON.parse(JSON.stringify(added?.json)),
    })
    expect(Buffer.from(cached.config, 'base64').toString()).toBe(text)
  })

  it('deletes in reverse order with the cached result, and forgets it', async () => {
    const seen: (Result | null)[] = []
    const journal: string[] = []
    const one = fakePlugin(
      { type: 'one', del: async ({ prevResult }) => void seen.push(prevResult) },
      journal,
    )
    const two = fakePlugin(
      { type: 'two', del: async ({ prevResult }) => void seen.push(prevResult) },
      journal,
    )
    const { run, file } = setUp({ plugins: [one, two], confs: [{ type: 'one' }, { type: 'two' }] })
    await run('ADD')
    await run('DEL')
    expect(journal.slice(2)).toEqual(['two DEL', 'one DEL'])
    expect(seen).toMatchObject([{ ips: address.ips }, { ips: address.ips }])
    expect(existsSync(file)).toBe(false)
    await run('DEL')
    expect(seen.slice(2)).toEqual([null, null])
  })

  it.each(['0.3.1', '0.2.0', ''])('deletes without a result in version %j', async (cniVersion) => {
    const seen: unknown[] = []
    const one = fakePlugin({ type: 'one', del: async ({ prevResult }) => void seen.push(prevResult) })
    const { run, file } = setUp({ plugins: [one], confs: [{ type: 'one' }], list: { cniVersion } })
    await run('ADD')
    expect(existsSync(file)).toBe(true)
    await run('DEL')
    expect(seen).toEqual([null])
    expect(existsSync(file)).toBe(false)
  })

  it('stops a DEL at the first error and keeps what it knows', async () => {
    const journal: string[] = []
    const one = fakePlugin({ type: 'one' }, journal)
    const two = fakePlugin({ type: 'two', del: () => Promise.reject(new Error('EBUSY')) }, journal)
    const { run, file } = setUp({ plugins: [one, two], confs: [{ type: 'one' }, { type: 'two', name: 'x' }] })
    await run('ADD')
    expect(await errorOf(run('DEL'))).toMatchObject({
      code: 999,
      msg: 'plugin type="two" name="x" failed (delete): EBUSY',
    })
    expect(journal).toEqual(['one ADD', 'two ADD', 'two DEL'])
    expect(existsSync(file)).toBe(true)
  })

  it('ignores a cached result that is none on DEL, not on CHECK', async () => {
    const { run, journal, file, log } = pair()
    await run('ADD')
    writeFileSync(file, '{"cniVersion":"77"}')
    expect((await errorOf(run('CHECK'))).msg).toContain('failed to get network "net" cached result: ')
    await run('DEL')
    expect(journal.slice(2)).toEqual(['two DEL', 'one DEL'])
    expect(log.lines).toHaveLength(1)
  })

  it('checks in order with the cached result', async () => {
    const { run, journal } = pair()
    await run('ADD')
    await run('CHECK')
    expect(journal.slice(2)).toEqual(['one CHECK', 'two CHECK'])
  })

  it('does not check where the list says so, nor in old versions', async () => {
    const plugin = fakePlugin()
    const disabled = setUp({ plugins: [plugin], confs: [{ type: 'fake' }], list: { disableCheck: true } })
    await disabled.run('CHECK')
    expect(plugin.journal).toEqual([])
    const old = setUp({ plugins: [plugin], confs: [{ type: 'fake' }], list: { cniVersion: '0.3.1' } })
    expect(await errorOf(old.run('CHECK'))).toMatchObject({
      code: 1,
      msg: 'configuration version "0.3.1" does not support the CHECK command',
    })
  })

  it('undoes everything when an ADD fails half way, and names the plugin', async () => {
    const { run, journal, cacheDir } = pair(() =>
      Promise.reject(new CniError({ code: 11, msg: 'later', details: 'wait' })),
    )
    expect(await errorOf(run('ADD'))).toMatchObject({
      code: 11,
      msg: 'plugin type="two" failed (add): later',
      details: 'wait',
    })
    expect(journal).toEqual(['one ADD', 'two ADD', 'two undo', 'one undo'])
    expect(readdirSync(cacheDir)).toEqual([])
  })

  it('undoes everything when the result can not be kept, or not be delivered', async () => {
    const { run, journal, cacheDir, file } = pair()
    const undone = ['one ADD', 'two ADD', 'two undo', 'one undo']
    expect(await errorOf(run('ADD', { deliver: () => Promise.reject(new Error('EPIPE')) }))).toMatchObject({
      msg: 'EPIPE',
    })
    expect(journal.splice(0)).toEqual(undone)
    expect(existsSync(file)).toBe(false)
    mkdirSync(file)
    expect((await errorOf(run('ADD'))).msg).toContain('failed to set network "net" cached result: ')
    expect(journal).toEqual(undone)
    expect(readdirSync(cacheDir)).toEqual(['results'])
  })

  it('touches nothing when any configuration is wrong', async () => {
    const { one, two, journal } = pair()
    const { run } = setUp({ plugins: [one, two], confs: [{ type: 'one' }, { type: 'two', mtu: 'x' }] })
    expect(await errorOf(run('ADD'))).toMatchObject({
      code: 7,
      msg: 'plugin type="two" failed (add): failed to load netconf: two.mtu: expected integer, got string "x"',
    })
    const absent = setUp({ plugins: [one], confs: [{ type: 'one' }, { type: 'two' }] })
    expect((await errorOf(absent.run('ADD'))).msg).toBe(
      'plugin type="two" failed (add): failed to find plugin "two" in path [/nowhere/bin]',
    )
    const unassigned = setUp({
      plugins: [one, two],
      confs: [{ type: 'one' }, { type: 'two', ipam: { type: 'one' } }],
    })
    expect((await errorOf(unassigned.run('ADD'))).msg).toBe(
      'plugin type="two" failed (add): ipam.type "one" is not an IPAM plugin',
    )
    expect(journal).toEqual([])
  })

  it('injects name, version, previous result and offered capabilities, and keeps the rest', async () => {
    const confs = [
      { type: 'fake', X: 1, Name: 'mine', CNIVERSION: '0.1.0', runtimeConfig: { old: 1 } },
      { type: 'fake', capabilities: { mac: true, ips: false, more: true }, RuntimeConfig: { old: 1 } },
    ]
    const raw: object[] = []
    const plugin = fakePlugin({
      add: async (attachment) => {
        raw.push(attachment.rawConf)
        return address
      },
    })
    const { run } = setUp({ plugins: [plugin], confs })
    await run('ADD', { capabilityArgs: { mac: '02:00:00:00:00:09', ips: ['x'], toString: 1 } })
    expect(JSON.parse(JSON.stringify(raw))).toEqual([
      { type: 'fake', X: 1, runtimeConfig: { old: 1 }, name: 'net', cniVersion: '1.1.0' },
      {
        type: 'fake',
        capabilities: { mac: true, ips: false, more: true },
        name: 'net',
        cniVersion: '1.1.0',
        prevResult: expect.objectContaining({ cniVersion: '1.1.0', ips: expect.anything() }),
        runtimeConfig: { mac: '02:00:00:00:00:09' },
      },
    ])
  })

  it('keeps nothing where there is no cache', async () => {
    const { run, cacheDir } = pair()
    await run('ADD', { cacheDir: null })
    await run('CHECK', { cacheDir: null })
    await run('DEL', { cacheDir: null })
    expect(readdirSync(cacheDir)).toEqual([])
  })

  it('asks for STATUS until the first error, and not in old versions', async () => {
    const { run, journal, one } = pair()
    await run('STATUS')
    expect(journal).toEqual(['one STATUS', 'two STATUS'])
    const bad: AnyPlugin = {
      ...fakePlugin({ type: 'bad' }),
      status: () => Promise.reject(new CniError({ code: 50, msg: 'full' })),
    }
    const failing = setUp({ plugins: [bad, one], confs: [{ type: 'bad' }, { type: 'one' }] })
    expect(await errorOf(failing.run('STATUS'))).toMatchObject({ code: 50, msg: 'full' })
    const old = setUp({ plugins: [bad], confs: [{ type: 'bad' }], list: { cniVersion: '1.0.0' } })
    expect(await old.run('STATUS')).toBeNull()
  })
})

describe('a chain with foreign plugins', () => {
  const foreignResult = JSON.stringify({ cniVersion: '1.0.0', ips: [{ address: '10.7.0.2/24' }] })
  const mixed = (behaviour: Behaviour = { stdout: foreignResult }, list: object = {}) => {
    const foreign = new ForeignPlugin('tuning', behaviour)
    const journal: string[] = []
    const one = fakePlugin({ type: 'one' }, journal)
    const last = fakePlugin({ type: 'last', add: async ({ prevResult }) => prevResult ?? {} }, journal)
    const set = setUp({
      plugins: [one, last],
      confs: [{ type: 'one' }, { type: 'tuning', capabilities: { mac: true } }, { type: 'last' }],
      list,
    })
    const run = (verb: ChainOptions['verb'], more: Partial<ChainOptions> = {}) =>
      set.run(verb, { path: foreign.directory, ...more })
    return { ...set, run, foreign, journal }
  }

  it('executes them in their turn, with the same injected keys', async () => {
    const { run, foreign, journal } = mixed()
    const added = await run('ADD', { capabilityArgs: { mac: 'm' }, args: 'K=V' })
    expect(added?.result.ips).toEqual([{ address: '10.7.0.2/24' }])
    expect(journal).toEqual(['one ADD', 'last ADD'])
    const [{ env, stdin } = { env: {}, stdin: '' }] = foreign.executions
    expect(env).toMatchObject({
      CNI_COMMAND: 'ADD',
      CNI_ARGS: 'K=V',
      CNI_IFNAME: 'eth0',
      CNI_CONTAINERID: 'cid-1',
    })
    expect(JSON.parse(stdin)).toMatchObject({
      name: 'net',
      cniVersion: '1.1.0',
      prevResult: { cniVersion: '1.1.0', ips: [{ address: '10.1.0.2/16' }] },
      runtimeConfig: { mac: 'm' },
    })
    await run('CHECK')
    await run('DEL')
    expect(foreign.verbs).toEqual(['ADD', 'CHECK', 'DEL'])
    expect(JSON.parse(foreign.executions[2]?.stdin ?? '')).toMatchObject({
      prevResult: { cniVersion: '1.1.0', ips: [{ address: '10.7.0.2/24' }] },
    })
  })

  it('gives those already added a DEL with their own result when a later one fails', async () => {
    const { run, foreign, journal } = mixed({ stdout: '{"cniVersion":"1.0.0"}' }, { cniVersion: '0.4.0' })
    await errorOf(run('ADD', { deliver: () => Promise.reject(new Error('no')) }))
    expect(foreign.verbs).toEqual(['ADD', 'DEL'])
    expect(JSON.parse(foreign.executions[1]?.stdin ?? '').prevResult).toEqual({
      cniVersion: '0.4.0',
      dns: {},
    })
    expect(journal).toEqual(['one ADD', 'last ADD', 'last undo', 'one undo'])
  })

  it('gives one that fails a DEL, too', async () => {
    const { run, foreign, journal } = mixed({
      stdout: '{"code":7,"msg":"bad"}',
      status: 1,
      verbs: { DEL: 'exit 0' },
    })
    expect(await errorOf(run('ADD'))).toMatchObject({
      code: 7,
      msg: 'plugin type="tuning" failed (add): bad',
    })
    expect(foreign.verbs).toEqual(['ADD', 'DEL'])
    expect(journal).toEqual(['one ADD', 'one undo'])
  })

  it('ends one that runs when the caller gives up, then gives it a DEL', async () => {
    const controller = new AbortController()
    const { run, foreign, journal } = mixed({
      verbs: { ADD: 'touch "$0.started"; exec sleep 60', DEL: 'exit 0' },
    })
    const started = `${foreign.file}.started`
    const timer = setInterval(() => existsSync(started) && controller.abort(new Error('SIGTERM')), 5)
    const error = await errorOf(run('ADD', { signal: controller.signal }))
    clearInterval(timer)
    expect(error.msg).toBe('plugin type="tuning" failed (add): stopped before it was done: SIGTERM')
    expect(foreign.verbs).toEqual(['ADD', 'DEL'])
    expect(journal).toEqual(['one ADD', 'one undo'])
  })
})

describe('GC of a network', () => {
  const remember = (cacheDir: string, network: string, containerId: string) =>
    writeCache(cacheDir, {
      network,
      containerId,
      ifName: 'eth0',
      config: '{}',
      netnsPath: `/nowhere/${containerId}`,
      args: 'IgnoreUnknown=1;K=V',
      capabilityArgs: { mac: '02:00:00:00:00:0c' },
      result: { cniVersion: '1.1.0' },
    })

  it('deletes what is cached and not valid, then asks every plugin', async () => {
    const journal: string[] = []
    const deleted: string[] = []
    const plugin = fakePlugin(
      {
        del: async (attachment) => {
          const { containerId, netnsPath, args, conf } = attachment
          deleted.push(`${containerId} ${netnsPath} ${args.text} ${JSON.stringify(conf.runtimeConfig)}`)
        },
      },
      journal,
    )
    const { run, cacheDir } = setUp({
      plugins: [plugin],
      confs: [{ type: 'fake', capabilities: { mac: true } }],
    })
    for (const id of ['a', 'b', 'c']) remember(cacheDir, 'net', id)
    remember(cacheDir, 'other', 'd')
    await run('GC', { valid: [{ containerId: 'b', ifName: 'eth0' }] })
    expect(deleted).toEqual([
      'a /nowhere/a IgnoreUnknown=1;K=V {"mac":"02:00:00:00:00:0c"}',
      'c /nowhere/c IgnoreUnknown=1;K=V {"mac":"02:00:00:00:00:0c"}',
    ])
    expect(journal).toEqual(['fake DEL', 'fake DEL', 'fake GC b/eth0'])
    expect(readdirSync(join(cacheDir, 'results'))).toEqual(['net-b-eth0', 'other-d-eth0'])
  })

  it('tells foreign plugins both names of the list', async () => {
    const foreign = new ForeignPlugin('other')
    const { run } = setUp({ plugins: [], confs: [{ type: 'other' }] })
    await run('GC', { valid: [{ containerId: 'b', ifName: 'eth0' }], path: foreign.directory })
    const [{ env, stdin } = { env: {}, stdin: '{}' }] = foreign.executions
    expect(env).toMatchObject({ CNI_COMMAND: 'GC', CNI_CONTAINERID: '', CNI_NETNS: '', CNI_IFNAME: '' })
    const list = [{ containerID: 'b', ifname: 'eth0' }]
    expect(JSON.parse(stdin)).toEqual({
      type: 'other',
      name: 'net',
      cniVersion: '1.1.0',
      'cni.dev/valid-attachments': list,
      'cni.dev/attachments': list,
    })
  })

  it('without a list deletes what is cached and lets the plugins alone', async () => {
    const plugin = fakePlugin()
    const { run, cacheDir } = setUp({ plugins: [plugin], confs: [{ type: 'fake' }] })
    remember(cacheDir, 'net', 'a')
    await run('GC')
    expect(plugin.journal).toEqual(['fake DEL'])
  })

  it('goes on after errors and reports all of them', async () => {
    const journal: string[] = []
    const bad: AnyPlugin = {
      ...fakePlugin(
        { type: 'bad', del: () => Promise.reject(new CniError({ code: 11, msg: 'busy' })) },
        journal,
      ),
      gc: () => Promise.reject(new Error('no')),
    }
    const good = fakePlugin({ type: 'good' }, journal)
    const { run, cacheDir } = setUp({ plugins: [bad, good], confs: [{ type: 'bad' }, { type: 'good' }] })
    remember(cacheDir, 'net', 'a')
    expect(await errorOf(run('GC', { valid: [] }))).toMatchObject({
      code: 11,
      msg: 'failed to delete stale attachment a eth0: plugin type="bad" failed (delete): busy',
      details: 'failed to GC plugin bad: no',
    })
    expect(journal).toEqual(['good DEL', 'bad DEL', 'good GC '])
  })

  it('tells of files in the cache that may be of the network and can not be read', async () => {
    const plugin = fakePlugin()
    const { run, cacheDir, log } = setUp({ plugins: [plugin], confs: [{ type: 'fake' }] })
    for (const id of ['a', 'b']) remember(cacheDir, 'net', id)
    const file = join(cacheDir, 'results', 'net-a-eth0')
    writeFileSync(file, '{')
    writeFileSync(join(cacheDir, 'results', 'other-c-eth0'), '{')
    await run('GC', { valid: [] })
    expect(plugin.journal).toEqual(['fake DEL', 'fake GC '])
    expect(log.lines).toEqual([
      expect.stringContaining(`${file} stands for an attachment that is not deleted: it holds no JSON`),
    ])
  })

  it.each(['0.2.0', '0.4.0', '1.0.0', '1.1.0'])(
    'asks plugins of ours in version %s where it is to ask in any',
    async (cniVersion) => {
      const journal: string[] = []
      const seen: unknown[] = []
      const gc: AnyPlugin['gc'] = async ({ conf, cniVersion: version, ipam }, valid) => {
        seen.push(version, conf, valid)
        await ipam?.gc(valid)
      }
      const plugin: AnyPlugin = { ...fakePlugin({ type: 'one' }, journal), gc }
      const addresses = fakePlugin({ type: 'addresses', kind: 'ipam' }, journal)
      const { run, cacheDir, log } = setUp({
        plugins: [plugin, addresses],
        confs: [{ type: 'one', mtu: 1300, ipam: { type: 'addresses' } }],
        list: { cniVersion },
      })
      for (const id of ['a', 'b']) remember(cacheDir, 'net', id)
      const valid = [{ containerId: 'b', ifName: 'eth0' }]
      await run('GC', { valid, anyVersion: true })
      expect(seen).toEqual(['1.1.0', expect.objectContaining({ mtu: 1300 }), valid])
      expect(journal).toEqual(['one DEL', 'addresses GC b/eth0'])
      expect(log.lines).toEqual([])
    },
  )

  it('does not ask plugins that are executed in old versions, and says so', async () => {
    const foreign = new ForeignPlugin('other')
    const journal: string[] = []
    const plugin: AnyPlugin = {
      ...fakePlugin({ type: 'one' }, journal),
      gc: async (context, valid) => {
        await context.ipam?.gc(valid)
        await context.delegate({ type: 'other' }).gc(valid)
      },
    }
    const confs = [{ type: 'one', ipam: { type: 'other' } }, { type: 'other' }]
    const ask = async (cniVersion: string) => {
      const { run, log } = setUp({ plugins: [plugin], confs, list: { cniVersion } })
      await run('GC', { valid: [], anyVersion: true, path: foreign.directory })
      return log.lines
    }
    const told = await ask('1.0.0')
    expect(told).toHaveLength(3)
    for (const line of told)
      expect(line).toContain(
        'the plugin "other" was not asked what to remove: the configuration is of version 1.0.0, and GC came with 1.1.0',
      )
    expect(foreign.executions).toEqual([])
    expect(await ask('1.1.0')).toEqual([])
    expect(foreign.executions.map(({ env }) => env.CNI_COMMAND)).toEqual(['GC', 'GC', 'GC'])
  })

  it('does not ask plugins in old versions, and does nothing where the list says so', async () => {
    const plugin = fakePlugin()
    const old = setUp({ plugins: [plugin], confs: [{ type: 'fake' }], list: { cniVersion: '1.0.0' } })
    remember(old.cacheDir, 'net', 'a')
    await old.run('GC', { valid: [] })
    expect(plugin.journal).toEqual(['fake DEL'])
    const disabled = setUp({ plugins: [plugin], confs: [{ type: 'fake' }], list: { disableGC: true } })
    remember(disabled.cacheDir, 'net', 'a')
    await disabled.run('GC', { valid: [] })
    expect(plugin.journal).toEqual(['fake DEL'])
  })
})
