/** What becomes of a lease when something happens to it: the same done to either daemon, told in the same words. */
import { ipv4Of } from '../../kernel/ipam/dhcp/node.ts'
import { grant, scripted } from '../../kernel/ipam/dhcp/wire.ts'
import { type Capture, capture } from '../../support/dhcp/capture.ts'
import { type DnsmasqOptions, dnsmasq } from '../../support/dhcp/dnsmasq.ts'
import type { Frame } from '../../support/dhcp/frame.ts'
import { type Kea4Options, kea4 } from '../../support/dhcp/kea4.ts'
import type { Container } from '../../support/space.ts'
import { eventually } from '../../support/wait.ts'
import { hostileServer } from './hostile.ts'
import { type DhcpSide, SOCKET } from './sides.ts'

export type Facts = Readonly<Record<string, unknown>>
type Life = (side: DhcpSide) => Promise<Facts>

/** Milliseconds that what is to come may take on a machine that has other things to do. */
const deadline = 40_000
/** Ours would ask the link for the address first, which is not what is compared. */
const ipam = { arpProbe: false }

const clients = (frames: Capture, from = 0): Frame[] =>
  frames.frames.slice(from).filter(({ outgoing, dhcp4 }) => !outgoing && dhcp4)

/** Who says what to whom, each kind of message once: `request leased > 10.77.0.1, frame to one`. */
const said = (frames: readonly Frame[]): string[] => {
  const line = ({ udp, destination, dhcp4 }: Frame): string => {
    const { type, ciaddr } = dhcp4!
    const from = udp!.from === ciaddr && ciaddr !== '0.0.0.0' ? 'leased' : udp!.from
    return `${type} ${from} > ${udp!.to}, frame to ${destination === 'ff:ff:ff:ff:ff:ff' ? 'all' : 'one'}`
  }
  return [...new Set(frames.map(line))]
}

const isRenewal = ({ outgoing, dhcp4 }: Frame): boolean =>
  !outgoing && dhcp4?.type === 'request' && dhcp4.ciaddr !== '0.0.0.0'

const isUp = async (container: Container): Promise<boolean> =>
  (await container.ipJson<{ flags: string[] }>('link', 'show', 'eth0'))[0]!.flags.includes('UP')

/** Whether it comes to pass. */
const comes = (work: Promise<unknown>): Promise<boolean> =>
  work.then(
    () => true,
    () => false,
  )

const seconds = { leaseTime: 8, renew: 1, rebind: 3, routers: ['10.77.0.1'] } as const

/** An attachment with a lease of Kea's. */
const leased = async (side: DhcpSide, options: Kea4Options = {}) => {
  const [server, frames, container] = await Promise.all([
    kea4(side.lan.space, { ...seconds, ...options }),
    capture(side.lan.space, 'lan0'),
    side.host.container(),
    side.daemon.start(),
  ])
  const result = await side.must('ADD', { container, ipam })
  const address = result.ips![0]!.address
  return { server, frames, container, result, address, ip: address.split('/')[0]! }
}

/** The same with dnsmasq, before ADD. */
const served = async (side: DhcpSide, options: DnsmasqOptions = {}) => {
  const [server, frames, container] = await Promise.all([
    dnsmasq(side.lan.space, options),
    capture(side.lan.space, 'lan0'),
    side.host.container(),
    side.daemon.start(),
  ])
  return { server, frames, container }
}

/** A renewal; then the server is gone until the lease has ended. */
const serverGone: Life = async (side) => {
  const { frames, server, container, address } = await leased(side)
  const asked = await frames.waitFor('a renewal', isRenewal, { deadline })
  await frames.waitFor('its ACK', ({ at, dhcp4 }) => at > asked.at && dhcp4?.type === 'ack', { deadline })
  await server.kill()
  const from = frames.length
  const isOver = async () => (await ipv4Of(container))!.length === 0 || !(await isUp(container))
  await eventually('the lease has ended', isOver, deadline)
  return {
    renewal: said([asked]),
    // Ours asks for another address as soon as the lease has ended.
    withoutAnswer: said(clients(frames, from)).slice(0, 2),
    keepsAddress: (await ipv4Of(container))!.includes(address),
    isUp: await isUp(container),
  }
}

/** The server refuses to renew, and would give another address. */
const refused: Life = async (side) => {
  let ip = '10.77.0.40'
  const times = { leaseTime: 12, renewalTime: 1, rebindingTime: 4 }
  const ear = await scripted(side.lan, ({ type, message: { ciaddr } }) => {
    if (type === 'DISCOVER') return grant('OFFER', ip, times)
    if (type !== 'REQUEST') return undefined
    const isOld = ciaddr !== '0.0.0.0' && ciaddr !== ip
    return isOld ? { messageType: 'NAK', serverId: '10.77.0.1', message: 'moved' } : grant('ACK', ip, times)
  })
  await side.daemon.start()
  const container = await side.host.container()
  await side.must('ADD', { container, ipam })
  ip = '10.77.0.41'
  const from = ear.length
  const isOf = (address: string) => (heard: (typeof ear.all)[number]) => heard.message.ciaddr === address
  await ear.next('REQUEST', { from, deadline }, isOf('10.77.0.41'))
  const naks = ear.all.slice(from).filter(isOf('10.77.0.40')).length
  return { asksAgain: naks > 1, addresses: await ipv4Of(container) }
}

/** What it says where it can't start; the socket that is in its way is removed then. */
const startAgain = async ({ daemon, host }: DhcpSide): Promise<string> => {
  try {
    await daemon.start()
    return 'starts'
  } catch (error) {
    await host.must('rm', [SOCKET])
    await daemon.start()
    return /address already in use/.exec((error as Error).message)?.[0] ?? 'fails'
  }
}

const daemonEnds: Life = async (side) => {
  const { frames, container, address, ip, server } = await leased(side, {
    extra: { 'expired-leases-processing': { 'reclaim-timer-wait-time': 1 } },
  })
  await side.daemon.stop()
  const afterTerm = await startAgain(side)
  await side.daemon.kill()
  const from = frames.length
  const afterKill = await startAgain(side)
  const isLapsed = ({ address, state }: { address: string; state: string }) =>
    address === ip && state === 'expired-reclaimed'
  const lease = await Promise.race([
    frames.waitFor('a renewal', isRenewal, { from, deadline }).then(() => 'renewed'),
    server.lease(isLapsed, deadline).then(() => 'lapsed'),
  ])
  return {
    ...{ afterTerm, afterKill, lease },
    released: frames.dhcp4('release').length > 0,
    keepsAddress: (await ipv4Of(container))!.includes(address),
  }
}

/** CHECK of an attachment that has no lease. */
const check: Life = async (side) => {
  const { frames, container, result, server, ip } = await leased(side, {
    leaseTime: 600,
    renew: 300,
    rebind: 500,
  })
  await side.must('DEL', { container, ipam, plugin: 'dhcp' })
  await server.released(ip, deadline)
  const from = frames.length
  const { status } = await side.run('CHECK', { container, ipam, prevResult: result })
  return { status, asks: clients(frames, from).some(({ dhcp4 }) => dhcp4!.type === 'discover') }
}

/** How long the server has to take a lease back that is given back. */
const patience = ({ which }: DhcpSide): number => (which === 'ours' ? 20_000 : 4000)

const twoInterfaces: Life = async (side) => {
  const { server, frames, container } = await served(side)
  const names = ['eth0', 'net1']
  const results = await Promise.all(names.map((ifName) => side.must('ADD', { container, ifName, ipam })))
  const addresses = new Set(results.map(({ ips }) => ips![0]!.address.split('/')[0]!))
  await side.must('DEL', { container, ifName: 'eth0', ipam })
  await side.must('DEL', { container, ifName: 'net1', ipam })
  const taken = await Promise.all(
    [...addresses].map((address) => comes(server.released(address, patience(side)))),
  )
  return { addresses: addresses.size, releases: said(frames.dhcp4('release')), takenBack: taken }
}

const bridged: Life = async (side) => {
  const { host } = side
  await host.ip('link', 'add', 'cni0', 'type', 'bridge', 'forward_delay', '0')
  await host.ip('link', 'set', 'cni0', 'up')
  await host.ip('link', 'set', 'lan', 'master', 'cni0')
  const { frames, container } = await served(side)
  const conf = { type: 'bridge', bridge: 'cni0' }
  const result = await side.must('ADD', { container, ipam, conf })
  await side.must('DEL', { container, ipam, conf, prevResult: result })
  return { releases: said(frames.dhcp4('release')) }
}

const broadcastFlag: Life = async (side) => {
  const { frames, container } = await served(side)
  await side.must('ADD', { container, ipam })
  return { broadcast: clients(frames).every(({ dhcp4 }) => dhcp4!.broadcast) }
}

const version6: Life = async (side) => {
  const { container } = await served(side, { range6: ['fd77::100', 'fd77::1ff'], ra: true })
  const { ips } = await side.must('ADD', { container, ipam: { version: 6 } })
  return { versions: ips!.map(({ address }) => (address.includes(':') ? 6 : 4)) }
}

const malformed: Life = async (side) => {
  await Promise.all([hostileServer(side.lan, '10.77.0.40'), side.daemon.start()])
  const container = await side.host.container()
  const { error } = await side.run('ADD', { container, ipam })
  // Go's of 2022 answers while it dies.
  const dies = error !== null && (await comes(side.daemon.log.waitFor('has ended')))
  return { succeeds: error === null, survives: !dies }
}

export const lives = {
  ...{ serverGone, refused, daemonEnds, check, twoInterfaces, bridged, broadcastFlag, version6, malformed },
} as const satisfies Readonly<Record<string, Life>>
