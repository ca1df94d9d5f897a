import { readFileSync, rmSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import type { JsonObject } from '../../../cni/types.ts'
import type { PrintedResult } from '../../support/plugin.ts'
import { privateHost } from '../../support/space.ts'
import { settled } from '../../support/wait.ts'
import { env, type FlannelNode, flannelNode } from './flannel-node.ts'
import { addressesOf, errorOf, linkOf, unheard, vethsOf } from './node.ts'

const linkwright = fileURLToPath(new URL('../../../dist/cli/linkwright.cjs', import.meta.url))

const files = ['.attachments/cid-1/net:eth0', 'cid-1']

const nothingIsLeft = async ({ made, kept, reserved }: FlannelNode): Promise<void> => {
  expect(kept()).toEqual([])
  expect(reserved()).toEqual([])
  expect(await vethsOf(made.host)).toEqual([])
  expect(await made.host.nftJson('list', 'ruleset')).toSatisfy(
    (all: unknown[]) => !JSON.stringify(all).includes('10.244.7.'),
  )
}

test("an interface on the node's subnet, its traffic, and away again", async () => {
  const there = await flannelNode()
  const { made, conf, kept, reserved } = there
  const [container, other] = [await made.host.container(), await made.host.container('green')]
  const result = await made.add(conf, { container })
  expect(result).toMatchObject({
    ips: [{ address: '10.244.7.2/24', gateway: '10.244.7.1', interface: 2 }],
    routes: [{ dst: '10.244.0.0/16' }],
  })
  expect(await addressesOf(container, 'eth0')).toEqual(['10.244.7.2/24'])
  expect((await linkOf(container, 'eth0')).mtu).toBe(1450)
  expect(await container.ipJson('route', 'show', '10.244.0.0/16')).toMatchObject([{ gateway: '10.244.7.1' }])
  expect(kept()).toEqual(files)
  expect(JSON.parse(readFileSync(`${conf.dataDir}/cid-1`, 'utf8'))).toEqual({
    cniVersion: '1.1.0',
    ipMasq: true,
    ipam: {
      dataDir: made.host.file('/var/lib/cni/networks'),
      ranges: [[{ subnet: '10.244.7.0/24' }]],
      routes: [{ dst: '10.244.0.0/16' }],
      type: 'host-local',
    },
    isGateway: true,
    mtu: 1450,
    name: 'net',
    type: 'bridge',
  })
  await made.add(conf, { container: other, containerId: 'cid-2' })
  await settled(container)
  expect(await container.ping('10.244.7.1')).toBe(true)
  expect(await container.ping('10.244.7.3')).toBe(true)
  await made.check(conf, { container, prevResult: result })
  await made.del(conf, { container: other, containerId: 'cid-2' })
  expect(kept()).toEqual(files)
  expect(reserved()).toEqual(['10.244.7.2'])
  await made.del(conf, { container, prevResult: result })
  await nothingIsLeft(there)
  await made.del(conf, { container })
  expect(made.warnings).toEqual([])
})

test('both families', async () => {
  const there = await flannelNode()
  const { made, conf, writeEnv } = there
  const container = await made.host.container()
  writeEnv([...env, 'FLANNEL_IPV6_NETWORK=fd00:244::/48', 'FLANNEL_IPV6_SUBNET=fd00:244:0:7::1/64'])
  const result = await made.add(conf, { container })
  expect(result.ips?.map(({ address }) => address)).toEqual(['10.244.7.2/24', 'fd00:244:0:7::2/64'])
  await settled(container)
  expect(await container.ping('fd00:244:0:7::1')).toBe(true)
  await made.check(conf, { container, prevResult: result })
  await made.del(conf, { container })
  await nothingIsLeft(there)
})

test('CHECK goes by what ADD made, and sees what has gone', async () => {
  const { made, conf, writeEnv } = await flannelNode()
  const container = await made.host.container()
  const prevResult = await made.add(conf, { container })
  // flanneld was given another subnet meanwhile.
  writeEnv([
    'FLANNEL_NETWORK=10.9.0.0/16',
    'FLANNEL_SUBNET=10.9.1.1/24',
    'FLANNEL_MTU=1400',
    'FLANNEL_IPMASQ=true',
  ])
  await made.check(conf, { container, prevResult })
  writeEnv([])
  await made.check(conf, { container, prevResult })
  await container.ip('addr', 'del', '10.244.7.2/24', 'dev', 'eth0')
  expect((await errorOf(made.check(conf, { container, prevResult }))).message).toContain('10.244.7.2')
  await made.del(conf, { container, prevResult })
})

test.each([
  ['without the subnet file', (there: FlannelNode) => there.writeEnv([])],
  ['without the kept files', ({ conf }: FlannelNode) => rmSync(String(conf.dataDir), { recursive: true })],
  [
    'without any of them',
    ({ conf, writeEnv }: FlannelNode) => {
      writeEnv([])
      rmSync(String(conf.dataDir), { recursive: true })
    },
  ],
  [
    'with files that cannot be read',
    ({ conf, kept }: FlannelNode) => {
      for (const file of kept()) writeFileSync(`${conf.dataDir}/${file}`, '{"type":')
    },
  ],
])('DEL %s', async (_, lose) => {
  const there = await flannelNode()
  const { made, conf } = there
  const container = await made.host.container()
  await made.add(conf, { container })
  lose(there)
  await made.del(conf, { container })
  await nothingIsLeft(there)
  expect((await container.ipJson('link', 'show')).length).toBe(1)
})

test('a failed ADD leaves nothing, and takes nothing from the one before', async () => {
  const there = await flannelNode()
  const { made, conf, kept } = there
  const container = await made.host.container()
  await errorOf(made.add(conf, { container, deliver: unheard }))
  await nothingIsLeft(there)
  writeFileSync(made.host.file('/var/lib/file'), '')
  const unkept = { ...conf, dataDir: made.host.file('/var/lib/file') }
  expect((await errorOf(made.add(unkept, { container }))).code).toBe(5)
  await made.del(unkept, { container })
  await nothingIsLeft(there)
  for (const delegate of [{ type: 'nowhere' }, { mtu: 'big' }, { type: 'ptp', mtu: -1 }])
    await errorOf(made.add({ ...conf, delegate }, { container }))
  await nothingIsLeft(there)
  await container.ip('link', 'add', 'eth0', 'type', 'bridge')
  await errorOf(made.add(conf, { container }))
  await nothingIsLeft(there)
  await container.ip('link', 'del', 'eth0')
  await made.add(conf, { container })
  const text = readFileSync(`${conf.dataDir}/cid-1`, 'utf8')
  await errorOf(made.add({ ...conf, delegate: { mtu: 1300 } }, { container }))
  expect(kept()).toEqual(files)
  for (const file of files) expect(readFileSync(`${conf.dataDir}/${file}`, 'utf8')).toBe(text)
  await made.del(conf, { container })
  await nothingIsLeft(there)
})

test('two networks and two interfaces of one container: each DEL takes its own', async () => {
  const there = await flannelNode()
  const { made, conf, kept, reserved } = there
  const container = await made.host.container()
  const attachments: readonly [JsonObject, string][] = [
    [{ ...conf }, 'eth0'],
    [{ ...conf }, 'net1'],
    [{ ...conf, name: 'two', delegate: { bridge: 'cni1' } }, 'net2'],
  ]
  for (const [more, ifName] of attachments) await made.add(more, { container, ifName })
  expect(kept()).toHaveLength(4)
  expect(await vethsOf(made.host)).toHaveLength(3)
  const shared = (): JsonObject => JSON.parse(readFileSync(`${conf.dataDir}/cid-1`, 'utf8')) as JsonObject
  expect(shared().name).toBe('two')
  await made.del(attachments[2]![0], { container, ifName: 'net2' })
  // For the Go plugin, should it be the one to take the others away.
  expect(shared().name).toBe('net')
  expect(reserved('two')).toEqual([])
  await made.del(attachments[0]![0], { container, ifName: 'eth0' })
  expect(kept()).toEqual(['.attachments/cid-1/net:net1', 'cid-1'])
  await made.del(attachments[1]![0], { container, ifName: 'net1' })
  await nothingIsLeft(there)
})

test('GC takes what belongs to nobody, and the rest stays', async () => {
  const there = await flannelNode()
  const { made, conf, kept, reserved } = there
  const [container, other] = [await made.host.container(), await made.host.container('green')]
  await made.add(conf, { container })
  await made.add(conf, { container: other, containerId: 'cid-2' })
  // As the Go plugin keeps them: of this network, of another one, and something else.
  const goes = { name: 'net', type: 'bridge' }
  writeFileSync(`${conf.dataDir}/cid-3`, JSON.stringify(goes))
  writeFileSync(`${conf.dataDir}/cid-4`, JSON.stringify({ ...goes, name: 'other' }))
  writeFileSync(`${conf.dataDir}/cid-5`, 'text')
  const gc = (ids: readonly string[]): Promise<PrintedResult | null> =>
    made.call('GC', {
      ...conf,
      'cni.dev/valid-attachments': ids.map((containerID) => ({ containerID, ifname: 'eth0' })),
    })
  await gc(['cid-1', 'cid-2', 'cid-3'])
  expect(kept()).toHaveLength(7)
  await gc(['cid-1'])
  expect(kept()).toEqual([...files, 'cid-4', 'cid-5'])
  expect(reserved()).toEqual(['10.244.7.2'])
  expect(await vethsOf(made.host)).toHaveLength(1)
  await made.del(conf, { container })
})

test('STATUS: 50 where ADD could not work', async () => {
  const { made, conf, writeEnv } = await flannelNode()
  await made.call('STATUS', conf)
  const error = await errorOf(
    made.call('STATUS', { ...conf, ipam: { ...(conf.ipam as JsonObject), resolvConf: '/nowhere' } }),
  )
  expect(error.code).toBe(50)
  writeFileSync(made.host.file('/var/lib/file'), '')
  expect(
    await errorOf(made.call('STATUS', { ...conf, dataDir: made.host.file('/var/lib/file') })),
  ).toMatchObject({
    code: 50,
    msg: expect.stringContaining('not a directory'),
  })
  writeEnv(env.slice(0, 2))
  expect(await errorOf(made.call('STATUS', conf))).toMatchObject({
    code: 50,
    msg: `failed to load flannel 'subnet.env' file: ${conf.subnetFile} is missing FLANNEL_MTU, FLANNEL_IPMASQ. Check the flannel pod log for this node.`,
  })
  writeEnv([])
  expect(await errorOf(made.call('STATUS', conf))).toMatchObject({
    code: 50,
    msg: expect.stringContaining(`open ${conf.subnetFile}: no such file or directory`),
    details: expect.stringContaining('flanneld'),
  })
  expect(await errorOf(made.call('ADD', conf, { container: await made.host.container() }))).toMatchObject({
    code: 11,
    msg: expect.stringContaining(`open ${conf.subnetFile}: no such file or directory`),
  })
})

test('the command line, the default paths, and masquerade that somebody has flushed', async () => {
  const host = await privateHost()
  const container = await host.container()
  const flannel = { type: 'flannel', delegate: { isDefaultGateway: true } }
  const input = JSON.stringify({ cniVersion: '1.0.0', name: 'cbr0', plugins: [flannel] })
  const call = (verb: string, ...args: string[]): Promise<string> =>
    host.must(process.execPath, [linkwright, verb, ...args], { input })
  await host.must('sh', ['-c', `mkdir /run/flannel; echo '${env.join('\n')}' >/run/flannel/subnet.env`])
  await call('add', '-', container.sandbox)
  expect(await container.ipJson('route', 'show', 'default')).toMatchObject([{ gateway: '10.244.7.1' }])
  await call('check', '-', container.sandbox)
  await host.must('nft', ['flush', 'ruleset'])
  const [outcome] = JSON.parse(await call('reconcile', '--json')) as {
    repairs: unknown[]
    errors: unknown[]
  }[]
  expect(outcome).toMatchObject({ repairs: [{ type: 'flannel' }], errors: [] })
  await call('check', '-', container.sandbox)
  await call('del', '-', container.sandbox)
  expect(await host.must('find', ['/var/lib/cni/flannel', '-type', 'f'])).toBe('')
})
