/** An ADD that gets no lease: what it says, and that nothing of it is left. */
import { chmodSync, rmSync, writeFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import type { Container } from '../../../support/space.ts'
import { eventually } from '../../../support/wait.ts'
import { errorOf } from '../../plugins/node.ts'
import { descriptors, ipv4Of, keeperNode, kept, notedIn } from './node.ts'
import { type Answer, grant, type Heard, scripted } from './wire.ts'

type Scene = Awaited<ReturnType<typeof keeperNode>>

/** Neither link, nor lease, nor note, nor descriptor. */
const nothingIsLeft = async ({ keeper, folder }: Scene, container: Container, before: number) => {
  expect(await ipv4Of(container)).toBeNull()
  expect(await keeper.list()).toEqual([])
  expect(notedIn(folder)).toEqual([])
  await eventually('all is closed', () => descriptors() <= before)
}

/** A node whose server answers so. */
const scene = async (answers: (heard: Heard) => Answer | undefined = () => undefined) => {
  const made = await keeperNode({ firstTimeout: 100 })
  const [ear, container] = await Promise.all([scripted(made.segment, answers), made.node.host.container()])
  return { made, ...made, ear, container, before: descriptors() }
}

test('no server: code 11 in time, and the details say that nobody answered', async () => {
  const { made, node, conf, container, before, ear, keeper } = await scene()
  const began = performance.now()
  const error = await errorOf(node.add(conf({ timeout: 1 }), { container }))
  expect(performance.now() - began).toBeLessThan(5000)
  expect(error).toMatchObject({ code: 11, msg: 'error calling DHCP.Allocate: no more tries' })
  expect(error.details).toMatch(/^no DHCP server answered on eth0 within 1 s: /)
  expect(ear.of('DISCOVER').length).toBeGreaterThan(1)
  expect((await keeper.status()).counters).toMatchObject({ timedOut: 1 })
  await nothingIsLeft(made, container, before)
})

test('the deadline of the keeper counts where the network has none', async () => {
  const made = await keeperNode({ deadline: 500 })
  const container = await made.node.host.container()
  expect(await errorOf(made.node.add(made.conf(), { container }))).toMatchObject({ code: 11 })
})

test('a server that refuses everything: its own words are in the details', async () => {
  const { made, node, conf, container, before } = await scene(({ type }) => {
    if (type === 'DISCOVER') return grant('OFFER', '10.77.0.50')
    return type === 'REQUEST'
      ? { messageType: 'NAK', serverId: '10.77.0.1', message: 'not on a Thursday' }
      : undefined
  })
  const error = await errorOf(node.add(conf({ timeout: 1 }), { container }))
  expect(error).toMatchObject({ code: 11, msg: 'error calling DHCP.Allocate: no more tries' })
  expect(error.details).toContain('10.77.0.1 refused the request (DHCPNAK): not on a Thursday')
  await nothingIsLeft(made, container, before)
})

test('a server that offers and then says nothing: it may have granted what it was asked for, and is told', async () => {
  const { made, node, conf, container, before, ear } = await scene(({ type }) =>
    type === 'DISCOVER' ? grant('OFFER', '10.77.0.50') : undefined,
  )
  const error = await errorOf(node.add(conf({ timeout: 2 }), { container }))
  expect(error).toMatchObject({ code: 11, msg: 'error calling DHCP.Allocate: no more tries' })
  await ear.next('RELEASE')
  await nothingIsLeft(made, container, before)
})

test('a server that never offers again: what it may have granted before is given back all the same', async () => {
  let offers = 0
  const { node, conf, container, ear } = await scene(({ type }) =>
    type === 'DISCOVER' && offers++ === 0 ? grant('OFFER', '10.77.0.50') : undefined,
  )
  const error = await errorOf(node.add(conf({ timeout: 2 }), { container }))
  expect(error.details).toContain('10.77.0.1 offered 10.77.0.50, and then said nothing more')
  expect((await ear.next('RELEASE')).message.ciaddr).toBe('10.77.0.50')
})

test('a signal ends it at once', async () => {
  const { made, node, conf, container, before, ear } = await scene()
  const controller = new AbortController()
  const added = node.add(conf(), { container, signal: controller.signal })
  added.catch(() => {})
  await ear.next('DISCOVER')
  controller.abort(new Error('that will do'))
  const began = performance.now()
  await errorOf(added)
  expect(performance.now() - began).toBeLessThan(3000)
  await nothingIsLeft(made, container, before)
})

test('DEL ends an ADD that is under way', async () => {
  const { made, node, conf, container, before, ear } = await scene(({ type }) =>
    type === 'DISCOVER' ? grant('OFFER', '10.77.0.50') : undefined,
  )
  const added = node.add(conf(), { container })
  added.catch(() => {})
  await ear.next('REQUEST')
  await made.keeper.release({
    ...{ containerId: 'cid-1', ifName: 'eth0', netns: container.path, args: '' },
    conf: { name: 'net', ...conf() },
  })
  expect(await errorOf(added)).toMatchObject({
    code: 11,
    details: expect.stringContaining('the attachment is deleted'),
  })
  await ear.next('RELEASE')
  await nothingIsLeft(made, container, before)
})

test('a keeper that stops ends it too, and gives back what it was about to take', async () => {
  const { node, conf, container, ear, keeper, folder } = await scene(({ type }) =>
    type === 'DISCOVER' ? grant('OFFER', '10.77.0.50') : undefined,
  )
  const added = node.add(conf(), { container })
  added.catch(() => {})
  await ear.next('REQUEST')
  await keeper.stop()
  expect(await errorOf(added)).toMatchObject({ code: 11 })
  await ear.next('RELEASE')
  expect(notedIn(folder)).toEqual([])
})

test('an address that can not be noted is not told to anybody', async () => {
  const { node, conf, container, ear, keeper, folder } = await scene(({ type }) => {
    if (type === 'DISCOVER') return grant('OFFER', '10.77.0.50')
    return type === 'REQUEST' ? grant('ACK', '10.77.0.50') : undefined
  })
  // Root writes whatever the mode is: a file in the folder's place stops it.
  chmodSync(folder, 0o700)
  rmSync(folder, { recursive: true })
  writeFileSync(folder, '')
  expect(await errorOf(node.add(conf(), { container }))).toMatchObject({ code: 5 })
  await ear.next('RELEASE')
  expect(await keeper.list()).toEqual([])
  expect(await ipv4Of(container)).toBeNull()
})

test('an ADD that fails after it had its address gives it back', async () => {
  const { made, node, conf, container, before, ear } = await scene(({ type }) => {
    if (type === 'DISCOVER') return grant('OFFER', '10.77.0.50')
    return type === 'REQUEST' ? grant('ACK', '10.77.0.50') : undefined
  })
  const fails = () => {
    throw new Error('nobody listens')
  }
  await expect(node.add(conf(), { container, deliver: fails })).rejects.toThrow()
  expect(await ear.next('RELEASE')).toMatchObject({ source: '10.77.0.50' })
  await nothingIsLeft(made, container, before)
})

test('the search goes on where the lease is lost, and a second ADD does not wait for it', async () => {
  let grants = true
  const { node, conf, container, keeper } = await scene(({ type }) => {
    if (!grants) return undefined
    const short = { leaseTime: 1 }
    if (type === 'DISCOVER') return grant('OFFER', '10.77.0.50', short)
    return type === 'REQUEST' ? grant('ACK', '10.77.0.50', short) : undefined
  })
  await node.add(conf({ arpProbe: false }), { container })
  grants = false
  await kept(keeper, ({ state }) => state === 'SELECTING')
  grants = true
  const call = { containerId: 'cid-1', ifName: 'eth0', netns: container.path, args: '' }
  const again = await keeper.allocate({ ...call, conf: { name: 'net', ...conf({ arpProbe: false }) } })
  expect(again.ips).toMatchObject([{ address: '10.77.0.50/24' }])
})
