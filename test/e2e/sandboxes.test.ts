/** Pods come and go through the launcher while the daemon is killed, stopped and started again. */
import { existsSync } from 'node:fs'
import { afterEach, expect, test } from 'vitest'
import { binDirs } from '../support/plugin.ts'
import { eventually } from '../support/wait.ts'
import { BusyNode } from './support/busy-node.ts'
import type { Caller } from './support/callers.ts'
import { Containerd } from './support/containerd.ts'
import { DAEMON_SOCKET, NodeDaemon } from './support/node-daemon.ts'

const PODS = 100
const WORKERS = 8

const conflist = {
  cniVersion: '1.0.0',
  name: 'e2e',
  plugins: [
    {
      type: 'bridge',
      bridge: 'cni0',
      isGateway: true,
      ipMasq: true,
      hairpinMode: true,
      ipam: { type: 'host-local', ranges: [[{ subnet: '10.88.0.0/16' }]], routes: [{ dst: '0.0.0.0/0' }] },
    },
    { type: 'portmap', capabilities: { portMappings: true } },
    { type: 'firewall' },
  ],
}

let containerd: Containerd | undefined
let daemon: NodeDaemon | undefined
afterEach(({ task }) => {
  if (task.result?.state === 'fail') console.error(containerd?.log, daemon?.log)
})

const added = (callers: readonly Caller[]): string[] =>
  callers.filter(({ verb }) => verb === 'ADD').map(({ container }) => container)

test('100 pod sandboxes, and a daemon that dies: only what it was adding is tried again, and nothing stays', async () => {
  containerd = await Containerd.start(binDirs.ours, conflist)
  daemon = new NodeDaemon(containerd.host)
  await daemon.start()
  const node = new BusyNode(containerd, daemon, WORKERS)
  const { host } = containerd
  const { kubelet } = node

  const steady = await kubelet.runPod('steady', { ports: [{ host: 9000, container: 80 }] })
  const [netns] = await containerd.netnsNames()
  containerd.listen(netns!, 80, 'steady')
  const answer = async () => (await host.run('busybox', ['nc', '-w', '3', '10.88.0.1', '9000'])).stdout
  await eventually('the steady pod listens', answer)
  const before = await node.traces()

  const kill = async () => expect(await daemon!.end('SIGKILL')).toBe('SIGKILL')
  /** Sandboxes that were being made in the daemon when it was killed. */
  const lost: string[] = []
  /** The same, when it was stopped. */
  const finished: string[] = []
  await node.run(PODS, async () => {
    await node.begun(16)
    lost.push(...added(await node.inTheMiddle(kill)))
    await daemon!.start()

    await node.begun(40)
    await kill()
    expect(await host.ping(steady.ip)).toBe(true)
    await node.begun(43)
    expect(await answer()).toBe('steady\n')
    await daemon!.start()

    await node.begun(60)
    let ended: Promise<unknown> | undefined
    const stop = async () => {
      ended = daemon!.end('SIGTERM')
      await eventually('nobody else is let in', () => !existsSync(host.file(DAEMON_SOCKET)))
    }
    finished.push(...added(await node.inTheMiddle(stop)))
    expect(await ended).toBe(0)
    await daemon!.start()

    await node.begun(80)
    lost.push(...added(await node.inTheMiddle(kill)))
    await daemon!.start()
    await node.begun(95)
    await kill()
    await daemon!.start()
  })

  expect(await node.traces()).toEqual(before)
  const failed = kubelet.failures.map(({ id }) => id)
  expect(failed).toEqual(expect.arrayContaining(lost))
  expect(failed.filter((id) => finished.includes(id))).toEqual([])
  // Those that were killed without looking who was there: no more can have been, and most often there is nobody.
  expect(failed.filter((id) => !lost.includes(id)).length).toBeLessThanOrEqual(2 * WORKERS)
  for (const { message } of kubelet.failures)
    expect(message).toMatch(
      /failed \(add\): the linkwright daemon did not answer to the end; what it may have done was undone/,
    )
  const operations = daemon.operations()
  expect(operations.filter(({ code }) => code !== 0)).toEqual([])
  // The others went by the standalone program.
  const additions = operations.filter(({ plugin, verb }) => plugin === 'bridge' && verb === 'ADD')
  expect(additions.length).toBeGreaterThan(PODS / 4)
  expect(additions.length).toBeLessThan(PODS)

  await containerd.removePodSandbox(steady.id)
  const after = await node.traces()
  expect(after).toMatchObject({ netns: [], sandboxes: [], bridges: [] })
  expect(after.files.filter((path) => /^results\/.|networks\/e2e\/\d+\./.test(path))).toEqual([])
  const links = await host.ipJson<{ ifname: string }>('link', 'show')
  expect(links.map(({ ifname }) => ifname)).toEqual(['lo', 'cni0'])
  expect(after.kernel.nft.filter((line) => line.includes('10.88.'))).toEqual([])
})
