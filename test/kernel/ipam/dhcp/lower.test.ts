/** Sockets that hear what is left with the interface below; of ipvlan interfaces themselves: test/stock-kernel. */
import { expect, onTestFinished, test } from 'vitest'
import { udpFilter } from '../../../../ipam/dhcp/filter.ts'
import { type Interface, lowerOf, openEars } from '../../../../ipam/dhcp/lower.ts'
import { ETH_P_IP, linkAddress, openPacketSocket } from '../../../../ipam/dhcp/socket.ts'
import { encodeUdp, parseUdp } from '../../../../ipam/dhcp/udp.ts'
import { link, Netns } from '../../../../netlink/index.ts'
import { Log } from '../../../support/dhcp/journal.ts'
import { type Space, space } from '../../../support/space.ts'
import { node } from '../../plugins/node.ts'

const everybody = new Uint8Array(6).fill(0xff)
const options = { protocol: ETH_P_IP, filter: udpFilter(68) }

/** Notes what it hears. */
const noting = (log: Log) => ({
  ...options,
  receive: (data: Uint8Array) => void log.push(Buffer.from(parseUdp(data)?.payload ?? []).toString()),
})

const datagram = (text: string): Uint8Array =>
  encodeUdp({
    source: '0.0.0.0',
    destination: '255.255.255.255',
    sourcePort: 67,
    destinationPort: 68,
    payload: Buffer.from(text),
  })

const interfaceOf = async (there: Space, name: string): Promise<Interface> => {
  const [found] = await there.ipJson<{ ifindex: number }>('link', 'show', name)
  const netns = Netns.open(there.path)
  onTestFinished(() => netns.close())
  return { netns, index: found!.ifindex }
}

/** An interface `name` in `there`, whose other end says and hears things. */
const wire = async (outside: Space, there: Space, name: string) => {
  const far = `far-${name}`
  await outside.ip('link', 'add', far, 'type', 'veth', 'peer', 'name', name, 'netns', `${there.pid}`)
  await outside.ip('link', 'set', far, 'up')
  await there.ip('link', 'set', name, 'up')
  const heard = new Log()
  const end = await interfaceOf(outside, far)
  const socket = openPacketSocket(end.netns, { index: end.index, ...noting(heard) })
  onTestFinished(() => socket.close())
  const say = (text: string) => socket.send(datagram(text), linkAddress(end.index, ETH_P_IP, everybody))
  return { near: await interfaceOf(there, name), heard, say }
}

test('both interfaces are listened at, one is spoken over', async () => {
  const [outside, host, container] = [await space(), await space(), await space()]
  const own = await wire(outside, container, 'eth0')
  const lower = await wire(outside, host, 'lan')
  const log = new Log()
  const ears = openEars(own.near, lower.near, noting(log))
  onTestFinished(() => ears.close())
  own.say('to the interface')
  await log.waitFor('to the interface')
  lower.say('to the one below')
  await log.waitFor('to the one below')
  ears.send(datagram('from the interface'), linkAddress(own.near.index, ETH_P_IP, everybody))
  await own.heard.waitFor('from the interface')
  expect(lower.heard.lines).toEqual([])
  ears.close()
  ears.close()
  own.say('nobody listens')
  lower.say('nobody listens')
  const others = openEars(own.near, lower.near, noting(own.heard))
  onTestFinished(() => others.close())
  lower.say('others do')
  await own.heard.waitFor('others do')
  expect(log.lines).toEqual(['to the interface', 'to the one below'])
})

test('without the one below, as it is where the interface is about to go', async () => {
  const [outside, container] = [await space(), await space()]
  const own = await wire(outside, container, 'eth0')
  const log = new Log()
  const ears = openEars(own.near, { netns: own.near.netns, index: 4711 }, noting(log))
  onTestFinished(() => ears.close())
  own.say('hello')
  await log.waitFor('hello')
  // What fails is the interface itself, then.
  expect(() => openEars({ ...own.near, index: 4711 }, own.near, noting(log))).toThrow(/ENODEV/)
})

test('an interface with a MAC of its own, or of another kind, hears everything itself', async () => {
  const { host, netns: hostNetns } = await node()
  const container = await host.container()
  await host.ip('link', 'add', 'lan', 'type', 'veth', 'peer', 'name', 'eth0', 'netns', `${container.pid}`)
  await host.ip('link', 'add', 'link', 'lan', 'name', 'mac0', 'type', 'macvlan')
  await host.ip('link', 'set', 'mac0', 'netns', `${container.pid}`)
  using netns = Netns.open(container.path)
  using connection = netns.connect()
  for (const name of ['eth0', 'mac0', 'lo']) {
    const found = await connection.run(link.get(name))
    expect(await lowerOf({ netns, connection, link: found }, hostNetns)).toBeUndefined()
  }
})
