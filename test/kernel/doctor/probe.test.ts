import { expect, it } from 'vitest'
import { Netns } from '../../../netlink/netns.ts'
import { isMissing, probeLinks, probeTrafficControl } from '../../../netlink/probe.ts'
import { must } from '../../support/program.ts'

/** What `ip link add` or `tc` say of the same kind, in a namespace of its own. */
const works = async (...command: string[]): Promise<boolean> => {
  const script = 'ip link add lower type veth peer name other && exec "$@"'
  return await must('unshare', ['-n', '--', 'sh', '-ec', script, 'sh', ...command]).then(
    () => true,
    () => false,
  )
}

it('tells of every kind of link what ip link tells', async () => {
  const found = await probeLinks()
  const add = (...args: string[]) => works('ip', 'link', 'add', ...args)
  const expected: Record<string, boolean> = {
    veth: await add('probe', 'type', 'veth'),
    bridge: await add('probe', 'type', 'bridge'),
    'bridge-vlan-filtering': await add('probe', 'type', 'bridge', 'vlan_filtering', '1'),
    macvlan: await add('probe', 'link', 'lower', 'type', 'macvlan', 'mode', 'bridge'),
    ipvlan: await add('probe', 'link', 'lower', 'type', 'ipvlan', 'mode', 'l2'),
    'ipvlan-l3s': await add('probe', 'link', 'lower', 'type', 'ipvlan', 'mode', 'l3s'),
    vlan: await add('probe', 'link', 'lower', 'type', 'vlan', 'id', '2'),
    dummy: await add('probe', 'type', 'dummy'),
    vrf: await add('probe', 'type', 'vrf', 'table', '100'),
    ifb: await add('probe', 'type', 'ifb'),
    tun: await works('ip', 'tuntap', 'add', 'probe', 'mode', 'tap'),
    vxlan: await add('probe', 'type', 'vxlan', 'id', '1', 'dstport', '4789'),
  }
  expect(Object.fromEntries(Object.entries(found).map(([name, error]) => [name, !error]))).toEqual(expected)
  for (const error of Object.values(found)) if (error) expect(isMissing(error), error.message).toBe(true)
})

it('tells of what limits are made of what tc tells', async () => {
  const found = await probeTrafficControl()
  const tc = (...args: string[]) => works('tc', ...args)
  expect(!found.tbf).toBe(
    await tc(...'qdisc add dev lower root tbf rate 1mbit burst 10k limit 10k'.split(' ')),
  )
  expect(!found.htb).toBe(await tc(...'qdisc add dev lower root htb default 1'.split(' ')))
  expect(!found.ingress).toBe(await tc(...'qdisc add dev lower ingress'.split(' ')))
  for (const error of Object.values(found)) if (error) expect(isMissing(error), error.message).toBe(true)
})

it('leaves the namespace of the process alone', async () => {
  const before = Netns.current().identity
  await probeLinks()
  await probeTrafficControl()
  expect(Netns.current().identity).toBe(before)
})
