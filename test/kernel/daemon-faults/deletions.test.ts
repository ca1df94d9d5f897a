/** Many containers go at once: their interfaces are deleted together, and not on the thread that serves others. */
import { expect, test } from 'vitest'
import { ask, Client, type Launch, launch } from '../../support/daemon/client.ts'
import { privateHost } from '../../support/space.ts'
import { conf } from '../faults/executed.ts'
import { ServedHost, Tracer } from './served.ts'

const COUNT = 24

test('deletions are grouped, and off the main thread', async () => {
  const host = await privateHost()
  const containers = await Promise.all(Array.from({ length: COUNT }, (_, i) => host.container(`c${i}`)))
  const own = { ...conf, ipMasq: false, macspoofchk: false, hairpinMode: false }
  const it = new ServedHost(host, containers[0]!, own)
  await it.start()
  const { pid } = it
  const call = (verb: string, i: number): Launch => ({
    ...{ type: 'bridge', verb, conf: own, containerId: `c${i}`, from: host.path },
    ...{ netns: containers[i]!.sandbox, opened: containers[i]!.path },
  })
  const veths = async (): Promise<number> => (await host.ipJson('link', 'show', 'type', 'veth')).length
  for (const i of containers.keys())
    expect(await launch(it.daemon.path, call('ADD', i))).toMatchObject({ status: 0 })
  expect(await veths()).toBe(COUNT)

  const tracer = await Tracer.attach(['-f', '-p', `${pid}`, '-e', 'trace=sendto'])
  const clients = await Promise.all(containers.map(() => Client.open(it.daemon.path)))
  // All requests are there when it looks again.
  process.kill(pid, 'SIGSTOP')
  try {
    await Promise.all(clients.map((client, i) => ask(client, call('DEL', i))))
  } finally {
    process.kill(pid, 'SIGCONT')
  }
  for (const client of clients) expect(await client.answer()).toMatchObject({ status: 0, stdout: '' })
  await tracer.detach()
  expect(await veths()).toBe(0)
  // RTM_DELLINK.
  const deletions = tracer.lines.filter((line) => line.includes('nlmsg_type=0x11 '))
  expect(deletions.filter((line) => line.startsWith(`${pid} `))).toEqual([])
  // The first goes at once, and others gather meanwhile.
  expect(deletions.length).toBeGreaterThan(0)
  expect(deletions.length).toBeLessThan(COUNT / 2)
})
