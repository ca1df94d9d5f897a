/** Executed plugins, with no keeper behind the socket, and with one that comes later. */
import { expect, test } from 'vitest'
import { dnsmasq } from '../../../support/dhcp/dnsmasq.ts'
import { daemonNode } from './daemon.ts'
import { ipv4Of } from './node.ts'
import { listen } from './wire.ts'

const scene = async () => {
  const made = await daemonNode()
  const [server, ear, container] = await Promise.all([
    dnsmasq(made.segment.space),
    listen(made.segment),
    made.host.container(),
  ])
  return { ...made, server, ear, container }
}
const ipOf = (address: string): string => address.split('/')[0]!

test('without a keeper: code 50, and what to start', async () => {
  const { run, container, ear } = await scene()
  const { error } = await run('ADD', { container })
  expect(error).toMatchObject({ code: 50, details: expect.stringContaining('dhcp daemon') })
  expect(await ipv4Of(container)).toBeNull()
  expect((await run('STATUS', { container })).error).toMatchObject({ code: 50 })
  // What was never made is easily deleted.
  expect((await run('DEL', { container })).status).toBe(0)
  expect(ear.length).toBe(0)
})

test('standalone: ADD gets a lease and says that nobody renews it; CHECK; DEL gives it back by the journal', async () => {
  const { run, container, server, daemon, ear } = await scene()
  const ipam = { standalone: true }
  const added = await run('ADD', { container, ipam })
  expect(added.error).toBeNull()
  expect(added.stderr).toContain('nobody will renew this lease')
  const lease = await server.lease()
  expect(added.result!.ips).toMatchObject([{ address: `${lease.address}/24` }])
  expect(await ipv4Of(container)).toEqual([`${lease.address}/24`])
  expect(daemon.noted()).toHaveLength(1)
  const prevResult = added.result
  expect(await run('CHECK', { container, ipam, prevResult })).toMatchObject({ status: 0 })
  expect(await run('STATUS', { container, ipam })).toMatchObject({ status: 0 })
  const from = ear.length
  expect(await run('DEL', { container, ipam, prevResult })).toMatchObject({ status: 0 })
  await server.released(lease.address)
  expect(ear.all.slice(from).map(({ type }) => type)).toEqual(['RELEASE'])
  expect(daemon.noted()).toEqual([])
  expect(await run('DEL', { container, ipam, prevResult })).toMatchObject({ status: 0 })
})

test('a keeper that starts later takes the lease over; DEL and GC work when it has gone', async () => {
  const { run, container, host, server, daemon } = await scene()
  const ipam = { standalone: true }
  const added = await run('ADD', { container, ipam })
  const address = added.result!.ips![0]!.address
  await daemon.start()
  expect(await daemon.keeper.list()).toMatchObject([{ state: 'BOUND', address }])
  // With it, and by it, a second one.
  const red = await host.container('red')
  const second = await run('ADD', { container: red, containerId: 'cid-2' })
  expect(second.error).toBeNull()
  expect(second.stderr).not.toContain('nobody will renew')
  expect(await daemon.keeper.list()).toHaveLength(2)

  await daemon.stop()
  // SIGTERM gives nothing back.
  expect(server.leases()).toHaveLength(2)
  expect(daemon.noted()).toHaveLength(2)
  const own = ipOf(second.result!.ips![0]!.address)
  expect((await run('DEL', { container: red, containerId: 'cid-2', prevResult: second.result })).status).toBe(
    0,
  )
  await server.released(own)
  expect(daemon.noted()).toHaveLength(1)
  const gc = await run('GC', { container }, { 'cni.dev/valid-attachments': [] })
  expect(gc.error).toBeNull()
  await server.released(ipOf(address))
  expect(daemon.noted()).toEqual([])
})
