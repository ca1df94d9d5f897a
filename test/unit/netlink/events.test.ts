import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { encode } from '../../../netlink/exchange.ts'
import { address, link, neighbour, type Request, route, rule } from '../../../netlink/index.ts'
import { readEvents } from '../../../netlink/monitor/events.ts'
import { captured } from './captured.ts'

const received = (command: string) =>
  new Uint8Array(Buffer.from(captured.find((one) => one.command === command)!.received!, 'hex'))

/** A request's message, which is laid out as the notification of it is, with another type. */
const notification = (request: Request<unknown>, type: number): Uint8Array => {
  const bytes = encode([request], 1).slice()
  new DataView(bytes.buffer).setUint16(4, type, true)
  return bytes
}

describe('notifications', () => {
  it('of links', () => {
    const bytes = received('ip -d link show dev br0')
    expect(readEvents(bytes)).toMatchObject([
      { kind: 'link', action: 'new', link: { name: 'br0', kind: 'bridge' } },
    ])
    expect(readEvents(notification(link.delete(5), 17))).toMatchObject([
      { kind: 'link', action: 'del', link: { index: 5 } },
    ])
  })

  it('of a bridge about its ports are none of links', () => {
    const bytes = received('bridge -c vlan show dev veth0')
    const events = readEvents(bytes)
    expect(events[0]).toMatchObject({
      kind: 'port',
      action: 'new',
      port: { index: 20, name: 'veth0', master: 10, data: { state: 'disabled', hairpin: false } },
    })
    // RTM_DELLINK of this family is a port that leaves, not a link that goes.
    const leaving = bytes.slice()
    new DataView(leaving.buffer).setUint16(4, 17, true)
    expect(readEvents(leaving)[0]).toMatchObject({ kind: 'port', action: 'del' })
  })

  it('of addresses, routes, rules, neighbours', () => {
    const all: [Request<unknown>, number, object][] = [
      [address.add({ index: 2, address: '10.0.0.1/24' }), 20, { kind: 'address', action: 'new' }],
      [address.add({ index: 2, address: '10.0.0.1/24' }), 21, { kind: 'address', action: 'del' }],
      [route.add({ dst: '10.0.0.0/8', index: 2 }), 25, { kind: 'route', action: 'del' }],
      [rule.add({ from: '10.0.0.0/8' }), 32, { kind: 'rule', action: 'new', rule: { from: '10.0.0.0/8' } }],
      [neighbour.add({ index: 2, ip: '10.0.0.9' }), 29, { kind: 'neighbour', action: 'del' }],
    ]
    for (const [request, type, expected] of all)
      expect(readEvents(notification(request, type))).toMatchObject([expected])
  })

  it('of other things and other families are passed over', () => {
    const mpls = notification(route.add({ dst: '10.0.0.0/8', index: 2 }), 24)
    mpls[16] = 28
    expect(readEvents(mpls)).toEqual([])
    expect(readEvents(notification(link.delete(5), 36))).toEqual([])
    const ipv6 = notification(link.delete(5), 16)
    ipv6[16] = 10
    expect(readEvents(ipv6)).toEqual([])
  })

  it('that can’t be read are reported, and those beside them are read', () => {
    const broken = notification(link.set(5, { mtu: 1400 }), 16)
    broken[32] = 0xff
    const good = notification(link.delete(6), 17)
    const both = new Uint8Array([...broken, ...good])
    expect(readEvents(both)).toMatchObject([
      { kind: 'malformed', type: 16 },
      { kind: 'link', action: 'del', link: { index: 6 } },
    ])
    const short = good.slice(0, 24)
    expect(readEvents(short)).toMatchObject([{ kind: 'malformed' }])
  })

  it('may be any bytes', () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => void readEvents(bytes)))
    const samples = captured.flatMap(({ received: hex }) => (hex ? [Buffer.from(hex, 'hex')] : []))
    fc.assert(
      fc.property(
        fc.constantFrom(...samples),
        fc.array(fc.tuple(fc.nat(1500), fc.integer({ min: 0, max: 255 })), { maxLength: 4 }),
        (sample, changes) => {
          const bytes = new Uint8Array(sample)
          for (const [at, value] of changes) if (at < bytes.length) bytes[at] = value
          readEvents(bytes)
        },
      ),
      { numRuns: 3000 },
    )
  })
})
