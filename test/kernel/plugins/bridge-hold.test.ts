/** ADDs of one host at the same time: who may take back what they share, and who may keep them waiting. */
import { readdirSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import * as z from 'zod/mini'
import { CniError } from '../../../cni/error.ts'
import { type Attachment, definePlugin } from '../../../cni/plugin.ts'
import { allVersions, type JsonObject } from '../../../cni/types.ts'
import { holdLock, waitsForLock, withoutRights } from '../../support/flock.ts'
import type { Container } from '../../support/space.ts'
import { eventually } from '../../support/wait.ts'
import { classic, errorOf, fixed, linkOf, links, locksFolder, type Node, node, unheard } from './node.ts'

/** ADDs that stop where they ask for addresses, with bridge and port made, until they are told how to go on. */
class Stage {
  readonly node: Node
  readonly #waiting = new Map<string, { succeed(): void; fail(error: Error): void }>()

  constructor(made: Node) {
    this.node = made
    const stage = definePlugin({
      type: 'stage',
      kind: 'ipam',
      versions: allVersions,
      conf: z.object({}),
      add: async (attachment) => {
        await this.#wait(attachment)
        return { ips: [{ address: '10.9.0.7/24' }] }
      },
      check: async () => {},
      del: async () => {},
    })
    made.options = { plugins: new Map([...made.plugins, [stage.type, stage]]) }
  }

  #wait({ containerId, signal }: Attachment<unknown>): Promise<void> {
    return new Promise((succeed, fail) => {
      signal.addEventListener('abort', () => fail(signal.reason))
      this.#waiting.set(containerId, { succeed, fail })
    })
  }

  /** Begins an ADD that comes on stage. @returns its outcome, to be awaited: an error or null */
  async begin(name: string, bridge: string, signal?: AbortSignal) {
    const container = await this.node.host.container(name)
    const conf: JsonObject = { bridge, ipam: { type: 'stage' } }
    const outcome = this.node.add(conf, { container, containerId: name, signal }).then(
      () => null,
      (error: Error) => error,
    )
    await eventually(`${name} is at work`, () => this.#waiting.has(name))
    return { outcome }
  }

  succeed(name: string): void {
    this.#waiting.get(name)!.succeed()
  }
  fail(name: string): void {
    this.#waiting.get(name)!.fail(new CniError({ code: 100, msg: `no address for ${name}` }))
  }
}

const namesOf = async ({ host }: Node): Promise<string[]> =>
  (await links(host)).map(({ ifname }) => ifname).sort()

describe('an ADD that fails', () => {
  test('takes its bridge back while another is at work on another bridge', async () => {
    const it = await node()
    const stage = new Stage(it)
    const red = await stage.begin('red', 'br2')
    const blue = await stage.begin('blue', 'br1')
    stage.fail('blue')
    expect(await blue.outcome).toMatchObject({ code: 100 })
    expect(await namesOf(it)).toEqual(['br2', 'lo', expect.stringMatching(/^veth/)])
    stage.succeed('red')
    expect(await red.outcome).toBeNull()
  })

  test('waits for another one on its bridge that fails, too', async () => {
    const it = await node()
    const stage = new Stage(it)
    const blue = await stage.begin('blue', 'br1')
    const red = await stage.begin('red', 'br1')
    stage.fail('blue')
    await eventually('it waits', () => waitsForLock(process.pid))
    stage.fail('red')
    expect(await Promise.all([blue.outcome, red.outcome])).toMatchObject([{ code: 100 }, { code: 100 }])
    expect(await namesOf(it)).toEqual(['lo'])
  })

  test('is undone when its caller gave up, while another one is at work', async () => {
    const it = await node()
    const stage = new Stage(it)
    const caller = new AbortController()
    const blue = await stage.begin('blue', 'br1', caller.signal)
    const red = await stage.begin('red', 'br1')
    caller.abort(new Error('enough'))
    await eventually('it waits', () => waitsForLock(process.pid))
    stage.fail('red')
    expect((await blue.outcome)?.message).toContain('enough')
    expect(await red.outcome).toMatchObject({ code: 100 })
    expect(await namesOf(it)).toEqual(['lo'])
  })

  test('does not wait for ever: another one keeps the bridge', async () => {
    const it = await node()
    const stage = new Stage(it)
    const blue = await stage.begin('blue', 'br1')
    const red = await stage.begin('red', 'br1')
    stage.fail('blue')
    const error = await blue.outcome
    expect(error).toMatchObject({ code: 100, details: undefined })
    expect(it.warnings).toEqual([expect.stringContaining('bridge br1')])
    stage.succeed('red')
    expect(await red.outcome).toBeNull()
    expect(await namesOf(it)).toEqual(['br1', 'lo', expect.stringMatching(/^veth/)])
  })
})

test('many ADDs on a new bridge that all fail leave no bridge', async () => {
  const it = await node()
  const stage = new Stage(it)
  const names = Array.from({ length: 12 }, (_, i) => `c${i}`)
  for (let round = 0; round < 5; round++) {
    const begun = await Promise.all(names.map((name) => stage.begin(`${name}-${round}`, 'br1')))
    for (const name of names) stage.fail(`${name}-${round}`)
    for (const { outcome } of begun) expect(await outcome).toMatchObject({ code: 100, details: undefined })
    expect(await namesOf(it)).toEqual(['lo'])
  }
})

test('two ADDs whose results nobody hears leave neither the bridge nor their addresses', async () => {
  const it = await node()
  const { host } = it
  await host.ip('link', 'add', 'cni0', 'address', '02:00:00:00:00:01', 'up', 'type', 'bridge')
  await host.ip('link', 'add', 'v0', 'up', 'master', 'cni0', 'type', 'veth', 'peer', 'name', 'v1')
  await host.ip('link', 'set', 'v1', 'up')
  const [blue, red] = [await host.container('blue'), await host.container('red')]
  let unheardOf = () => {}
  const both = new Promise<void>((resolve) => {
    unheardOf = resolve
  })
  let done = 0
  const deliver = async () => {
    if (++done === 2) unheardOf()
    await both
    unheard()
  }
  const add = (container: Container, containerId: string, conf: JsonObject) =>
    errorOf(it.add(conf, { container, containerId, deliver }))
  await Promise.all([
    add(blue, 'blue', fixed('10.1.0.5/16')),
    add(red, 'red', fixed('fd00:1::5/64', 'fd00:1::1')),
  ])
  const { addr_info } = await linkOf(host, 'cni0')
  expect(addr_info.filter(({ scope }) => scope !== 'link')).toEqual([])
  expect((await namesOf(it)).sort()).toEqual(['cni0', 'lo', 'v0', 'v1'])
})

describe('a process without rights in the namespace', () => {
  test('keeps no ADD waiting', async () => {
    const it = await node()
    await holdLock(it.host, '/proc/self/ns/net', { by: withoutRights })
    await it.add(classic, { container: await it.host.container() })
  })

  test('keeps no bridge from being taken back', async () => {
    const it = await node()
    await holdLock(it.host, '/proc/self/ns/net', { mode: 'shared', by: withoutRights })
    await errorOf(it.add(classic, { container: await it.host.container(), deliver: unheard }))
    expect(await namesOf(it)).toEqual(['lo'])
  })

  test('does not come to what ADDs lock', async () => {
    const it = await node()
    await it.add(classic, { container: await it.host.container() })
    const [lock, ...others] = readdirSync(it.host.file(locksFolder))
    expect(others).toEqual([])
    await expect(holdLock(it.host, `${locksFolder}/${lock}`, { by: withoutRights })).rejects.toThrow(
      'could not be locked',
    )
    await holdLock(it.host, `${locksFolder}/${lock}`)
  })
})

describe('where the locks can not be', () => {
  test.each([
    ['a link', 'mkdir -p /run/linkwright /run/other && ln -s /run/other /run/linkwright/bridge'],
    ["somebody else's folder", 'mkdir -p /run/linkwright/bridge && chown 65534 /run/linkwright/bridge'],
    ['a folder that others may read', 'mkdir -p /run/linkwright/bridge && chmod 755 /run/linkwright/bridge'],
    ['a file', 'mkdir -p /run/linkwright && touch /run/linkwright/bridge'],
    ["somebody else's folder above", 'mkdir /run/linkwright && chown 65534 /run/linkwright'],
    ['a folder above that others may write to', 'mkdir /run/linkwright && chmod 777 /run/linkwright'],
    ['a link above', 'mkdir /run/other && ln -s /run/other /run/linkwright'],
    ['nothing, on a read-only file system', 'mount -t tmpfs -o ro tmpfs /run/linkwright'],
  ])('%s: refused before anything is made', async (what, script) => {
    const it = await node()
    const container = await it.host.container()
    await it.host.must('sh', [
      '-ec',
      what.includes('read-only') ? `mkdir /run/linkwright; ${script}` : script,
    ])
    const error = await errorOf(it.add(classic, { container }))
    expect(error.code).toBe(5)
    expect(error.msg).toMatch(/\/run\/linkwright/)
    expect(error.details).toBeTruthy()
    expect(await namesOf(it)).toEqual(['lo'])
  })

  test('a link in the place of a lock is not followed', async () => {
    const it = await node()
    const container = await it.host.container()
    await errorOf(it.add(classic, { container, deliver: unheard }))
    const [lock] = readdirSync(it.host.file(locksFolder))
    await it.host.must('sh', [
      '-ec',
      `cd ${locksFolder}; rmdir ${lock}; mkdir ../other; ln -s ../other ${lock}`,
    ])
    expect((await errorOf(it.add(classic, { container }))).code).toBe(5)
    expect(await namesOf(it)).toEqual(['lo'])
  })

  test('they are made again when somebody has removed them', async () => {
    const it = await node()
    const container = await it.host.container()
    for (let round = 0; round < 2; round++) {
      await it.add(classic, { container })
      await it.del(classic, { container })
      await it.host.must('rm', ['-r', '/run/linkwright'])
    }
  })
})
