/** The device comes back with its old name, whatever has happened to it in between. */
import { spawnSync } from 'node:child_process'
import { describe, expect, onTestFinished, test, vi } from 'vitest'
import type { JsonObject } from '../../../cni/types.ts'
import { Notes } from '../../../plugins/host-device/notes.ts'
import { conf, fixed, linksOf, notesFolder, notesOf, withDevice } from './host-device.ts'
import { errorOf, linkOf, links, type Node } from './node.ts'

/** What the Go plugin leaves: no note. */
const forget = ({ host }: Node): Promise<string> => host.must('rm', ['-r', notesFolder])

const attached = async (more: JsonObject = {}) => {
  const { node } = await withDevice()
  const before = await linksOf(node.host)
  const container = await node.host.container()
  const prevResult = await node.add(conf(more), { container })
  return { node, before, container, prevResult, own: conf(more) }
}

describe('changed in the container', () => {
  test.each([
    ['renamed', 'ip link set eth0 down; ip link set eth0 name net7'],
    ['renamed, another in its place', 'ip link set eth0 name net7; ip link add eth0 type ifb'],
    [
      'renamed, one like it in its place',
      'ip link set eth0 name net7; ip link add eth0 type veth peer name x',
    ],
    [
      'under its old name, as where its new one was taken',
      'ip link set eth0 down; ip link set eth0 name hd0 alias ""',
    ],
    ['its alias', 'ip link set eth0 alias nonsense'],
    ['its alias gone', 'ip link set eth0 alias ""'],
    ['MAC and MTU', 'ip link set eth0 down address 02:00:00:00:00:77 mtu 1300'],
    ['name, MAC and MTU', 'ip link set eth0 down name x address 02:00:00:00:00:77 mtu 1300'],
    ['down', 'ip link set eth0 down'],
  ])('%s', async (_title, script) => {
    const { node, before, container, own } = await attached()
    await container.must('sh', ['-ec', script])
    const others = (await links(container)).filter(
      ({ ifalias, linkinfo }) => !ifalias && linkinfo?.info_kind === 'ifb',
    )
    await node.del(own, { container })
    expect(await linksOf(node.host)).toEqual(before)
    expect(await notesOf(node)).toBe('')
    expect((await links(container)).filter(({ linkinfo }) => linkinfo?.info_kind === 'ifb')).toHaveLength(
      others.length,
    )
  })

  test.each([
    ['renamed', 'ip link set eth0 name net7'],
    ['nothing', 'true'],
    ['MAC', 'ip link set eth0 down address 02:00:00:00:00:77'],
  ])('%s, without a note', async (_title, script) => {
    const { node, container, own } = await attached()
    await forget(node)
    await container.must('sh', ['-ec', script])
    await node.del(own, { container })
    expect((await links(container)).map(({ ifname }) => ifname)).toEqual(['lo'])
    const back = await linkOf(node.host, 'hd0')
    expect(back.ifalias).toBeUndefined()
    // Nothing tells that it was up: as Go's.
    expect(back.flags).not.toContain('UP')
  })

  test('told by the result, where the configuration has changed', async () => {
    const { node, container, prevResult } = await attached()
    await forget(node)
    await node.del(conf({ device: 'hd9' }), { container, prevResult })
    await linkOf(node.host, 'hd0')
  })
})

/** A veth vanishes with its namespace; hardware returns: played by moving it. */
const returned = async (node: Node, container: { ip(...args: string[]): Promise<void> }, name: string) => {
  await container.ip('link', 'set', 'eth0', 'down')
  await container.ip('link', 'set', 'eth0', 'name', name)
  await container.ip('link', 'set', name, 'netns', String(node.host.pid))
}

describe('the namespace is gone', () => {
  test.each(['eth0', 'dev5'])('the device is on the host as %s', async (name) => {
    const { node, before, container, own } = await attached({ ipam: fixed })
    await returned(node, container, name)
    await node.del(own, {})
    expect(await linksOf(node.host)).toEqual(before)
    await node.del(own, {})
    expect(await linksOf(node.host)).toEqual(before)
  })

  test.each(['eth0', 'dev5'])('without a note, as %s', async (name) => {
    const { node, container, prevResult, own } = await attached()
    await forget(node)
    await returned(node, container, name)
    await node.del(own, { prevResult })
    expect((await linkOf(node.host, 'hd0')).ifalias).toBeUndefined()
  })

  test('and so is the device', async () => {
    const { node, container, own } = await attached()
    await container.close()
    await expect.poll(async () => (await links(node.host)).length).toBe(1)
    await node.del(own, {})
    expect(await notesOf(node)).toBe('')
  })
})

describe('its name is taken on the host', () => {
  test.each([
    ['it comes under another', ''],
    ['so is the one it had in the container', 'ip link add eth0 type ifb'],
  ])('%s, and gets its own when that is free', async (_title, script) => {
    const { node, before, container, own } = await attached()
    await node.host.must('sh', ['-ec', `ip link add hd0 type ifb; ${script}`])
    const error = await errorOf(node.del(own, { container }))
    expect(error).toMatchObject({
      code: 11,
      msg: expect.stringMatching(
        /^the device is on the host as dev[0-9a-f]{8}: its name hd0 is taken there$/,
      ),
    })
    const stray = (await links(node.host)).find(({ ifalias }) => ifalias === 'hd0')
    expect(stray?.ifname).toMatch(/^dev[0-9a-f]{8}$/)
    // Its namespace may go: it is out.
    await container.close()
    expect((await errorOf(node.del(own, {}))).code).toBe(11)
    await node.host.must('sh', ['-ec', 'for i in hd0 eth0; do ip link del $i || :; done'])
    await node.del(own, {})
    expect(await linksOf(node.host)).toEqual(before)
    expect(await notesOf(node)).toBe('')
  })

  test('without a note', async () => {
    const { node, container, own, prevResult } = await attached()
    await forget(node)
    await node.host.ip('link', 'add', 'hd0', 'type', 'ifb')
    expect((await errorOf(node.del(own, { container, prevResult }))).code).toBe(11)
    await node.host.ip('link', 'del', 'hd0')
    await node.del(own, { container, prevResult })
    expect((await linkOf(node.host, 'hd0')).linkinfo?.info_kind).toBe('veth')
  })
})

test("others' interfaces stay where they are", async () => {
  const { node } = await withDevice()
  const container = await node.host.container()
  await container.must('sh', [
    '-ec',
    'ip link add eth0 type veth peer name x; ip link set eth0 alias uplink; ip link set x alias hd1',
  ])
  await node.host.must('sh', [
    '-ec',
    'ip link add eth0 type veth peer name dev7; ip link set eth0 alias spare; ip link set dev7 alias hd1',
  ])
  const [inside, outside] = [await linksOf(container), await linksOf(node.host)]
  const error = await errorOf(node.add(conf(), { container }))
  expect(error.msg).toContain('eth0 already')
  await node.del(conf(), { container })
  await node.del(conf(), {})
  expect(await linksOf(container)).toEqual(inside)
  expect(await linksOf(node.host)).toEqual(outside)
})

test('GC brings back what belongs to nobody any more', async () => {
  const { node, before, container, own } = await attached()
  const valid = (list: readonly JsonObject[]): JsonObject => ({
    ...own,
    'cni.dev/valid-attachments': [...list],
  })
  await node.call('GC', valid([{ containerID: 'cid-1', ifname: 'eth0' }]))
  await linkOf(container, 'eth0')
  await node.call('GC', { ...valid([]), name: 'other' })
  await linkOf(container, 'eth0')
  await node.call('GC', valid([]))
  expect(await linksOf(node.host)).toEqual(before)
  expect(await notesOf(node)).toBe('')
})

test('two containers that want one device: one gets it, the other leaves everything as it is', async () => {
  const { node, before } = await withDevice().then(async (it) => ({
    ...it,
    before: await linksOf(it.node.host),
  }))
  const names = ['one', 'two']
  const containers = await Promise.all(names.map((name) => node.host.container(name)))
  const outcomes = await Promise.allSettled(
    names.map((containerId, i) => node.add(conf(), { containerId, container: containers[i] })),
  )
  expect(outcomes.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected'])
  expect(await linksOf(node.host)).not.toEqual(before)
  for (const [i, containerId] of names.entries())
    await node.del(conf(), { containerId, container: containers[i] })
  expect(await linksOf(node.host)).toEqual(before)
})

test('an alternative name of it is taken in the container', async () => {
  const { node } = await withDevice()
  const before = await linksOf(node.host)
  const container = await node.host.container()
  // The device has an alternative name that the container has, too: the kernel minds that before it moves anything.
  await node.host.ip('link', 'property', 'add', 'dev', 'hd0', 'altname', 'other')
  await container.ip('link', 'add', 'other', 'type', 'ifb')
  const error = await errorOf(node.add(conf(), { container }))
  expect(error.details).toContain('already')
  await node.host.ip('link', 'property', 'del', 'dev', 'hd0', 'altname', 'other')
  expect(await linksOf(node.host)).toEqual(before)
  expect(await notesOf(node)).toBe('')
})

describe('a name is taken at the last moment, which the kernel minds after the move', () => {
  test('in the container: ADD fails, and the device is back', async () => {
    const { node } = await withDevice()
    const before = await linksOf(node.host)
    const container = await node.host.container()
    const write = Notes.prototype.write
    const spy = vi.spyOn(Notes.prototype, 'write').mockImplementation(function (this: Notes, one) {
      write.call(this, one)
      spawnSync(...container.command('ip', ['link', 'add', 'eth0', 'type', 'ifb']))
    })
    onTestFinished(() => spy.mockRestore())
    const error = await errorOf(node.add(conf(), { container }))
    expect(error).toMatchObject({
      msg: expect.stringContaining('EEXIST'),
      details: expect.stringMatching(/^the container has an interface eth0.* already$/),
    })
    expect(await linksOf(node.host)).toEqual(before)
    expect((await links(container)).map(({ ifname }) => ifname)).toEqual(['lo', 'eth0'])
    expect(await notesOf(node)).toBe('')
  })

  test('in the container, and the process is killed then: DEL brings it back', async () => {
    const { node, before, container, own } = await attached()
    // As the kernel leaves it.
    await container.must('sh', [
      '-ec',
      'ip link set eth0 down; ip link set eth0 name hd0; ip link add eth0 type ifb',
    ])
    await node.del(own, { container })
    expect(await linksOf(node.host)).toEqual(before)
    expect((await links(container)).map(({ ifname }) => ifname)).toEqual(['lo', 'eth0'])
  })

  test('on the host: the device is there under its name in the container, and DEL says so', async () => {
    const { node, before, container, own } = await attached()
    await returned(node, container, 'eth0')
    await node.host.ip('link', 'add', 'hd0', 'type', 'ifb')
    const error = await errorOf(node.del(own, { container }))
    expect(error).toMatchObject({ code: 11, msg: expect.stringContaining('on the host as eth0') })
    await node.host.ip('link', 'del', 'hd0')
    await node.del(own, { container })
    expect(await linksOf(node.host)).toEqual(before)
  })
})
