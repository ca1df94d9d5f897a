/** `ipam.type` names a plugin of ours that assigns nothing: refused by each plugin before the kernel hears of it. */
import { spawn } from 'node:child_process'
import { expect, onTestFinished, test } from 'vitest'
import type { JsonObject } from '../../../cni/types.ts'
import { plugins } from '../../../plugins/index.ts'
import { plainEnv } from '../../support/program.ts'
import type { Space } from '../../support/space.ts'
import { eventually } from '../../support/wait.ts'
import { wired } from './master.ts'
import { errorOf } from './node.ts'

const confs: Readonly<Record<string, JsonObject>> = {
  bridge: { bridge: 'cni0', isGateway: true, ipMasq: true },
  ptp: { ipMasq: true },
  macvlan: { master: 'eth1' },
  ipvlan: { master: 'eth1' },
  vlan: { master: 'eth1', vlanId: 7 },
  dummy: {},
  tap: {},
  'host-device': { device: 'eth1' },
}

/** Links of a namespace that are made, changed or deleted from now on, by name. */
const changes = async (there: Space) => {
  const [file, args] = there.command('ip', ['-o', 'monitor', 'link'])
  const monitor = spawn(file, args, { env: plainEnv, stdio: ['ignore', 'pipe', 'ignore'] })
  onTestFinished(() => void monitor.kill('SIGKILL'))
  let text = ''
  monitor.stdout.on('data', (chunk: Buffer) => {
    text += chunk.toString()
  })
  const names = () => [...text.matchAll(/\d+: ([\w-]+)[@:]/g)].map(([, name]) => name!)
  /** What there was before a link of this name came. */
  const until = async (marker: string) => {
    await there.ip('link', 'add', marker, 'type', 'bridge')
    await eventually(`${marker} is told of`, () => names().includes(marker))
    return names().filter((name) => !name.startsWith('marker'))
  }
  await eventually('the monitor looks', async () => {
    await there.ip('link', 'set', 'lo', 'down')
    await there.ip('link', 'set', 'lo', 'up')
    return names().includes('lo')
  })
  return { until }
}

test.each(Object.entries(confs))('%s', async (type, conf) => {
  const { node } = await wired()
  const container = await node.host.container()
  const watched = [await changes(node.host), await changes(container)]
  for (const other of [type, 'loopback', 'portmap'])
    expect(await errorOf(node.add({ ...conf, type, ipam: { type: other } }, { container }))).toMatchObject({
      code: 7,
      msg: `ipam.type "${other}" is not an IPAM plugin`,
      details: expect.stringContaining('host-local'),
    })
  for (const { until } of watched) expect(new Set(await until('marker'))).toEqual(new Set(['lo']))
})

test('every interface plugin of ours that has IPAM is looked at here', () => {
  const chained = ['loopback', 'bandwidth', 'firewall', 'portmap', 'sbr', 'tuning', 'vrf']
  const interfaces = [...plugins.values()].filter(({ kind }) => kind === 'interface').map(({ type }) => type)
  expect(interfaces.filter((type) => !chained.includes(type) && type !== 'flannel').sort()).toEqual(
    Object.keys(confs).sort(),
  )
})
