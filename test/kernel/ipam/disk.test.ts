/** host-local on file systems that do not do what it asks. */
import { expect, test } from 'vitest'
import type { JsonObject } from '../../../cni/types.ts'
import { binDirs, runPlugin } from '../../support/plugin.ts'
import { privateHost } from '../../support/space.ts'

const conf: JsonObject = {
  cniVersion: '1.1.0',
  name: 'net',
  type: 'bridge',
  ipam: {
    type: 'host-local',
    dataDir: '/run/data',
    ranges: [[{ subnet: '10.1.0.0/24' }], [{ subnet: '2001:db8::/64' }]],
  },
}

/** A node whose reservations are on a file system of their own, mounted with these options. */
const setUp = async (options: string) => {
  const host = await privateHost()
  await host.must('mkdir', ['-p', '/run/data'])
  await host.must('mount', ['-t', 'tmpfs', '-o', options, 'tmpfs', '/run/data'])
  const call = (command: string, containerId: string) =>
    runPlugin({
      host,
      binDir: binDirs.ours,
      type: 'host-local',
      command,
      conf,
      containerId,
      netns: '/run/netns/none',
    })
  const names = async (): Promise<string[]> =>
    (await host.must('find', ['/run/data', '-type', 'f', '-printf', '%P\n']))
      .split('\n')
      .filter(Boolean)
      .sort()
  return { host, call, names }
}

test('a full one: nothing is left of an ADD, and DEL works', async () => {
  const { host, call, names } = await setUp('size=64k')
  expect((await call('ADD', 'a')).status).toBe(0)
  const before = await names()
  await host.run('dd', ['if=/dev/zero', 'of=/run/data/filler', 'bs=4k'])
  const { error } = await call('ADD', 'b')
  expect(error).toMatchObject({
    code: 5,
    msg: 'failed to allocate for range 0: write /run/data/net/.linkwright-new: no space left on device',
  })
  expect(await names()).toEqual(['filler', ...before])
  expect((await call('CHECK', 'a')).status).toBe(0)
  expect((await call('DEL', 'a')).status).toBe(0)
  await host.must('rm', ['/run/data/filler'])
  expect((await call('ADD', 'b')).result?.ips).toHaveLength(2)
})

test('one without room for another file: what was made for the first set goes again', async () => {
  // The root, the directory, the lock, two files of the first set and one of the second.
  const { call, names } = await setUp('nr_inodes=6')
  const { error } = await call('ADD', 'a')
  expect(error?.code).toBe(5)
  expect(error?.msg).toMatch(/no space left on device$/)
  expect((await names()).filter((name) => !/lock|last_reserved/.test(name))).toEqual([])
})

test('one that is read-only: ADD and STATUS say so, CHECK works', async () => {
  const { host, call, names } = await setUp('size=64k')
  expect((await call('ADD', 'a')).status).toBe(0)
  expect((await call('STATUS', 'a')).status).toBe(0)
  const before = await names()
  await host.must('mount', ['-o', 'remount,ro', '/run/data'])
  expect((await call('ADD', 'b')).error).toMatchObject({
    code: 5,
    msg: expect.stringMatching(/read-only file system$/),
  })
  expect((await call('STATUS', 'a')).error).toMatchObject({
    code: 50,
    msg: expect.stringMatching(/read-only file system$/),
  })
  expect((await call('CHECK', 'a')).status).toBe(0)
  // Not removed, and not said to be.
  expect((await call('DEL', 'a')).error).toMatchObject({
    code: 5,
    msg: expect.stringMatching(/read-only file system/),
  })
  expect(await names()).toEqual(before)
})
