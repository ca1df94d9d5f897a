/** CHECK notices each loss, and changes nothing; DEL and GC remove what is the attachment's, and only that. */
import { describe, expect, test } from 'vitest'
import { binDirs, runPlugin } from '../../support/plugin.ts'
import { ifbs, limits, remains, shown, wire, wired } from './bandwidth.ts'
import { errorOf } from './node.ts'

const IFB = 'bwpc56677a01e3b'
const subnets = { ...limits, unshapedSubnets: ['10.77.0.0/16', 'fd00:77::/64'] }

describe('CHECK notices', () => {
  test.each([
    ['that the limit into it has gone', 'tc qdisc del dev VETH root', /^Failed to find qdisc of veth\w+$/],
    [
      'another rate',
      'tc qdisc change dev VETH root tbf rate 9mbit burst 750000 latency 25ms',
      /^Rate doesn't match of/,
    ],
    [
      'another limit',
      'tc qdisc change dev IFB root tbf rate 3200kbit burst 750000 limit 900000',
      /^Limit doesn't match of bwp/,
    ],
    [
      'another burst',
      'tc qdisc change dev IFB root tbf rate 3200kbit burst 740000 limit 760000',
      /^Buffer doesn't match of bwp/,
    ],
    [
      'another qdisc',
      'tc qdisc replace dev VETH root handle 9: pfifo limit 9',
      /^Failed to find qdisc of veth/,
    ],
    ['that the limit out of it has gone', 'tc qdisc del dev IFB root', /^Failed to find qdisc of bwp/],
    [
      'that nothing looks at what comes in',
      'tc qdisc del dev VETH ingress',
      /^Failed to find qdisc ingress of veth/,
    ],
    ['that nothing is redirected', 'tc filter del dev VETH ingress', /^Failed to find filter of veth/],
    ['that the IFB has gone', 'ip link del IFB', /is redirected to a link that has gone$/],
    ['that the IFB is down', 'ip link set IFB down', /^interface bwp\w+ is down$/],
    [
      "that the IFB is another's",
      'ip link set IFB alias linkwright:net/cid-2/eth0',
      /which belongs to linkwright:net\/cid-2/,
    ],
    [
      'that it leads elsewhere',
      'tc filter del dev VETH ingress; ip link add ifb9 type ifb; tc filter add dev VETH parent ffff: protocol all u32 match u32 0 0 action mirred egress redirect dev ifb9',
      /^the result lists no interface ifb9$/,
    ],
  ])('%s', async (_title, script, msg) => {
    const { it, container, prevResult, veth } = await wired()
    const result = await it.add(limits, { container, prevResult })
    await it.host.must('sh', ['-ec', script.replaceAll('VETH', veth).replaceAll('IFB', IFB)])
    const before = await shown(it.host, veth)
    const error = await errorOf(it.check(limits, { container, prevResult: result }))
    expect(error).toMatchObject({ code: 999, msg: expect.stringMatching(msg) })
    expect(await shown(it.host, veth)).toEqual(before)
    // What is left goes.
    await it.del(limits, { container, prevResult: result })
    expect(
      (await ifbs(it.host)).filter(({ ifname, ifalias }) => ifname === IFB && !ifalias?.includes('cid-2')),
    ).toEqual([])
  })

  test.each([
    [
      'a class that has another rate',
      'tc class change dev VETH classid 1:30 htb rate 9mbit burst 10k',
      /^Rate doesn't match/,
    ],
    [
      'a class that may have more',
      'tc class change dev IFB classid 1:30 htb rate 3200kbit ceil 9mbit burst 750000',
      /^Ceiling doesn't match of bwp/,
    ],
    [
      'that the rest is limited',
      'tc class change dev IFB classid 1:1 htb rate 9mbit',
      /^Rate doesn't match of bwp/,
    ],
    ['that a filter has gone', 'tc filter del dev VETH parent 1: pref 15', /^Failed to find filter of veth/],
    [
      'that the limit is for all',
      'tc qdisc del dev IFB root; tc qdisc add dev IFB root handle 1: tbf rate 3200kbit burst 750000 latency 25ms',
      /^Failed to find qdisc of bwp/,
    ],
    [
      'another default',
      'tc qdisc del dev IFB root; tc qdisc add dev IFB root handle 1: htb default 1',
      /^Default class doesn't match of bwp/,
    ],
    [
      'that a class has gone',
      'tc qdisc del dev IFB root; tc qdisc add dev IFB root handle 1: htb default 30',
      /^Failed to find class of bwp/,
    ],
  ])('of subnets: %s', async (_title, script, msg) => {
    const { it, container, prevResult, veth } = await wired()
    const result = await it.add(subnets, { container, prevResult })
    await it.check(subnets, { container, prevResult: result })
    await it.host.must('sh', ['-ec', script.replaceAll('VETH', veth).replaceAll('IFB', IFB)])
    const error = await errorOf(it.check(subnets, { container, prevResult: result }))
    expect(error).toMatchObject({ code: 999, msg: expect.stringMatching(msg) })
  })

  test('that the IFB is another', async () => {
    const { it, container, prevResult } = await wired()
    const result = await it.add(limits, { container, prevResult })
    const interfaces = result.interfaces!.map((one) => ({ ...one, mac: '02:00:00:00:00:09' }))
    const error = await errorOf(it.check(limits, { container, prevResult: { ...result, interfaces } }))
    expect(error.msg).toMatch(/^interface bwp\w+ has MAC .*, the result says 02:00:00:00:00:09$/)
  })

  test('that there is no result', async () => {
    const { it, container } = await wired()
    expect(await errorOf(it.check(limits, { container }))).toMatchObject({
      code: 7,
      msg: 'must be called as a chained plugin',
    })
  })
})

describe('DEL', () => {
  test.each([
    ['as runtimes do it', (all: object) => all],
    ['without a result', ({ container }: { container?: unknown }) => ({ container })],
    ['without a namespace', ({ prevResult }: { prevResult?: unknown }) => ({ prevResult })],
    ['without both', () => ({})],
  ])('%s', async (_title, keep) => {
    const { it, container, prevResult, veth } = await wired()
    const result = await it.add(limits, { container, prevResult })
    const call = keep({ container, prevResult: result })
    // Whatever became of the configuration.
    const conf = { type: 'bandwidth', ingressRate: 8, egressRate: 'fast', shapedSubnets: ['x'] }
    await it.del(conf, call)
    expect(await ifbs(it.host)).toEqual([])
    // Where the veth is not to be found, what is on it goes with it.
    if ('container' in call) {
      expect(await remains(it.host)).toEqual([])
      expect(await container.ping('10.9.0.1')).toBe(true)
    }
    await it.del(wire('10.9.0.5/24', '10.9.0.1'), { container })
    await it.del(conf, call)
    expect(await remains(it.host)).toEqual([])
    expect(await it.host.must('ip', ['-o', 'link'])).not.toContain(veth)
  })

  test('of another network, whose ADD failed because the name is taken', async () => {
    const { it, container, prevResult, veth } = await wired()
    await it.add(limits, { container, prevResult })
    const before = await shown(it.host, veth)
    await it.del({ ...limits, name: 'other' }, { container })
    expect(await shown(it.host, veth)).toEqual(before)
  })

  test("another's filters stay", async () => {
    const { it, container, prevResult, veth } = await wired()
    await it.add(limits, { container, prevResult })
    const words =
      'filter add dev VETH parent ffff: pref 9 protocol ip u32 match ip src 10.0.0.0/8 action mirred egress mirror dev lo'
    await it.host.must('tc', words.replace('VETH', veth).split(' '))
    await it.del(limits, { container })
    expect(await remains(it.host)).toEqual([`ingress of ${veth}`])
    expect(await it.host.must('tc', ['filter', 'show', 'dev', veth, 'ingress'])).toMatch(
      /mirror to device lo/i,
    )
    expect(await container.ping('10.9.0.1')).toBe(true)
  })
})

describe("what the Go plugin made, which has one name for all of a container's", () => {
  const byGo = async () => {
    const all = await wired()
    const { it, container, prevResult } = all
    const second = await it.add(wire('10.8.0.5/24', '10.8.0.1'), { container, ifName: 'net1' })
    const run = await runPlugin({
      host: it.host,
      binDir: binDirs.go,
      type: 'bandwidth',
      command: 'ADD',
      netns: container,
      conf: {
        ...limits,
        cniVersion: '1.0.0',
        name: 'net',
        prevResult: { ...prevResult, cniVersion: '1.0.0' },
      },
    })
    expect(run.error).toBeNull()
    return { ...all, second, result: run.result! }
  }

  test('goes with the attachment that it is of', async () => {
    const { it, container } = await byGo()
    await it.del(limits, { container, ifName: 'net1' })
    expect(await ifbs(it.host)).toHaveLength(1)
    await it.del(limits, { container })
    expect(await remains(it.host)).toEqual([])
  })

  test('stays where another attachment is made, and both work', async () => {
    const { it, container, second, result } = await byGo()
    const other = await it.add(limits, { container, ifName: 'net1', prevResult: second })
    expect(other.interfaces!.at(-1)!.name).not.toBe(IFB)
    await it.check(limits, { container, ifName: 'net1', prevResult: other })
    await it.check(limits, { container, prevResult: { ...result, cniVersion: '1.1.0' } })
    await it.del(limits, { container, ifName: 'net1' })
    await it.del(limits, {})
    expect(await ifbs(it.host)).toEqual([])
  })

  test('becomes ours where ADD is repeated by ours', async () => {
    const { it, container, prevResult } = await byGo()
    const result = await it.add(limits, { container, prevResult })
    expect(await ifbs(it.host)).toMatchObject([{ ifname: IFB, ifalias: 'linkwright:net/cid-1/eth0' }])
    await it.check(limits, { container, prevResult: result })
  })
})

test('GC removes the IFBs of attachments that are not in the list', async () => {
  const { it, container, prevResult } = await wired()
  await it.add(limits, { container, prevResult })
  const second = { container, ifName: 'net1' }
  const other = await it.add(wire('10.8.0.5/24', '10.8.0.1'), second)
  const kept = await it.add(limits, { ...second, prevResult: other })
  const foreign = await it.host.container('foreign')
  const third = { container: foreign, containerId: 'cid-3' }
  const elsewhere = await it.add({ ...wire('10.7.0.5/24', '10.7.0.1'), name: 'other' }, third)
  await it.add({ ...limits, name: 'other' }, { ...third, prevResult: elsewhere })
  await it.host.ip('link', 'add', 'bwp0123456789ab', 'type', 'ifb')
  expect(await ifbs(it.host)).toHaveLength(4)
  await it.call('GC', {
    ...limits,
    'cni.dev/valid-attachments': [{ containerID: 'cid-1', ifname: 'net1' }],
  })
  const left = (await ifbs(it.host)).map(({ ifname }) => ifname)
  expect(left).toHaveLength(3)
  expect(left).toContain(kept.interfaces!.at(-1)!.name)
  expect(left).not.toContain(IFB)
  await it.check(limits, { ...second, prevResult: kept })
})
