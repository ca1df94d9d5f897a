import { describe, expect, it } from 'vitest'
import { addressLayout } from '../../../netlink/address.ts'
import { Reader } from '../../../netlink/codec/reader.ts'
import type { Rows } from '../../../netlink/codec/table.ts'
import { encode } from '../../../netlink/exchange.ts'
import {
  address,
  bridgeVlan,
  checkName,
  isLinkName,
  link,
  Netns,
  neighbour,
  type Request,
  route,
  rule,
} from '../../../netlink/index.ts'
import { bridgeMessageLayout } from '../../../netlink/link/bridge-message.ts'
import { linkLayout } from '../../../netlink/link/layout.ts'
import { type Layout, readMessage } from '../../../netlink/request.ts'
import { routeLayout } from '../../../netlink/route/layout.ts'

/** A request as it is sent, read back. */
const sent = <H, T extends Rows>(layout: Layout<H, T>, request: Request<unknown>) => {
  const bytes = encode([request], 1).slice()
  return readMessage(layout, new Reader(bytes).slice(16))
}

describe('interface names', () => {
  it.each(['eth0', 'a', 'fifteen-letters', 'vlan.100', 'äöü', '-', '...', "it's"])('%j is one', (name) => {
    expect(isLinkName(name)).toBe(true)
    expect(checkName(name)).toBe(name)
  })

  it.each([
    ['', 'is empty'],
    ['sixteen-letters!', 'is 16 bytes long'],
    ['äöüäöüäö', 'is 16 bytes long'],
    ['.', 'is reserved'],
    ['..', 'is reserved'],
    ['a/b', 'contains'],
    ['a:b', 'contains'],
    ['a b', 'contains'],
    ['a\tb', 'contains'],
    ['a\nb', 'contains'],
    ['a\vb', 'contains'],
    ['a\0b', 'contains'],
    // The last byte of à in UTF-8 is a no-break space to the kernel.
    ['à', 'contains'],
    // A template: the kernel would make x0 of it.
    ['x%d', "contains '%'"],
    ['100%', "contains '%'"],
  ])('%j is none', (name, reason) => {
    expect(isLinkName(name)).toBe(false)
    expect(() => checkName(name)).toThrow(reason)
    for (const build of [
      () => link.add({ name, kind: 'dummy' }),
      () => link.set(3, { name }),
      () => link.add({ name: 'a', kind: 'veth', data: { peer: { name } } }),
      () => rule.add({ inputName: name }),
    ])
      expect(() => encode([build()], 1)).toThrow(RangeError)
  })

  it.each(['a-name-that-is-longer-than-fifteen', 'x%d', 'a b', 'à', '..'])(
    'that no interface can have as its own are alternative ones: %j',
    (name) => {
      expect(sent(linkLayout, link.get(name)).attributes).toMatchObject({
        altIfname: name,
        ifname: undefined,
      })
    },
  )

  it('of no bytes, more than 127 or with a NUL are none of either sort', () => {
    for (const name of ['', 'a\0b']) expect(() => link.get(name)).toThrow(RangeError)
    expect(() => link.get('x'.repeat(128))).toThrow(RangeError)
    expect(() => link.addAltNames(2, [''])).toThrow(RangeError)
  })
})

describe('links', () => {
  it('are named by an index or a name, never both', () => {
    expect(sent(linkLayout, link.set(7, { mtu: 1400 }))).toMatchObject({
      index: 7,
      attributes: { mtu: 1400 },
    })
    expect(sent(linkLayout, link.set('eth0', { mtu: 1400 }))).toMatchObject({
      index: 0,
      attributes: { ifname: 'eth0', mtu: 1400 },
    })
    for (const bad of [0, -1, 1.5, Number.NaN, 2 ** 31]) expect(() => link.get(bad)).toThrow(RangeError)
    // The kernel would look for the new name.
    expect(() => link.set('eth0', { name: 'lan0' })).toThrow(/only be renamed by its index/)
  })

  it('change the flags that are named, and no others', () => {
    expect(sent(linkLayout, link.set(7, { up: true, promisc: false }))).toMatchObject({ change: 0x101 })
    expect(sent(linkLayout, link.set(7, { mtu: 1 }))).toMatchObject({ change: 0 })
  })

  it('are born in a namespace by its descriptor, taken when the message is written', () => {
    const descriptor = { fd: 9, close: () => {} }
    const request = link.add({ name: 'x', kind: 'veth', data: { peer: { name: 'y', netns: descriptor } } })
    const peer = () => Buffer.from(encode([request], 1)).toString('hex')
    expect(peer()).toContain('08001c0009000000')
    descriptor.fd = 11
    expect(peer()).toContain('08001c000b000000')
    descriptor.fd = -1
    expect(peer).toThrow('the namespace is closed')
    // Our own has no descriptor: by a process in it.
    const home = link.set(3, { netns: Netns.current() })
    expect(sent(linkLayout, home).attributes).toEqual({ netNsPid: process.pid })
  })

  it('of unknown kinds take their data as bytes', () => {
    const request = link.add({ name: 'wg0', kind: 'wireguard', raw: Uint8Array.of(8, 0, 1, 0, 1, 2, 3, 4) })
    expect(sent(linkLayout, request).attributes.linkinfo?.own).toEqual({
      kind: 'wireguard',
      raw: Uint8Array.of(8, 0, 1, 0, 1, 2, 3, 4),
    })
  })
})

describe('addresses', () => {
  it('have a broadcast address where that makes sense', () => {
    const of = (text: string, peer?: string) =>
      sent(addressLayout, address.add({ index: 1, address: text, peer, broadcast: 'auto' })).attributes
        .broadcast
    expect(of('10.1.2.3/24')).toBe('10.1.2.255')
    expect(of('10.1.2.3/30')).toBe('10.1.2.3')
    expect(of('10.1.2.3/31')).toBeUndefined()
    expect(of('10.1.2.3')).toBeUndefined()
    expect(of('2001:db8::1/64')).toBeUndefined()
  })

  it('are checked', () => {
    for (const bad of ['', 'x', '10.1.2/24', '10.1.2.3/33', '::ffff:1.2.3.4/120', '::ffff:1.2.3.4/128'])
      expect(() => address.add({ index: 1, address: bad })).toThrow(RangeError)
    expect(() => address.add({ index: 1, address: '10.1.2.3/24', peer: '2001:db8::1/64' })).toThrow(
      /different families/,
    )
    for (const bad of [-1, 1.5, Number.NaN, 2 ** 32])
      expect(() => address.add({ index: 1, address: '::1/64', validLifetime: bad })).toThrow(RangeError)
    expect(() => address.add({ index: 1, address: '::1/64', flags: { nodda: true } as never })).toThrow(
      RangeError,
    )
  })

  it('last for ever unless told otherwise', () => {
    const lifetimes = (options: object) =>
      sent(addressLayout, address.add({ index: 1, address: '::1/64', ...options })).attributes.cacheinfo
    expect(lifetimes({})).toBeUndefined()
    expect(lifetimes({ validLifetime: 60 })).toMatchObject({ valid: 60, prefered: 60 })
    expect(lifetimes({ preferredLifetime: 0 })).toMatchObject({ valid: 0xffff_ffff, prefered: 0 })
  })

  it('of loopback have the scope host', () => {
    expect(sent(addressLayout, address.add({ index: 1, address: '127.0.0.1/8' })).scope).toBe(254)
    expect(sent(addressLayout, address.add({ index: 1, address: '127.0.0.1/8', scope: 77 })).scope).toBe(77)
  })
})

describe('routes', () => {
  const of = (options: route.RouteOptions & { mode?: route.RouteMode }) =>
    sent(routeLayout, route.add(options))

  it('have their modes', () => {
    const header = (mode?: route.RouteMode) => {
      const request = route.add({ dst: '10.0.0.0/8', index: 1, ...(mode && { mode }) })
      return Buffer.from(encode([request], 1)).readUInt16LE(6)
    }
    expect(header()).toBe(0x605)
    expect(header('exclusive')).toBe(0x605)
    expect(header('create')).toBe(0x405)
    expect(header('append')).toBe(0xc05)
    expect(header('replace')).toBe(0x505)
    expect(header('change')).toBe(0x105)
  })

  it('know the family of a default route from what is around it', () => {
    expect(of({ dst: 'default', gateway: '10.0.0.1' })).toMatchObject({ family: 2, dstLength: 0 })
    expect(of({ dst: 'default', gateway: 'fe80::1', index: 1 })).toMatchObject({ family: 10 })
    expect(of({ dst: 'default', family: 6, index: 1 })).toMatchObject({ family: 10 })
    expect(of({ dst: 'default', family: 4, gateway: 'fe80::1', index: 1 })).toMatchObject({
      family: 2,
      attributes: { via: 'fe80::1' },
    })
    expect(of({ dst: 'default', index: 1 })).toMatchObject({ family: 2 })
    expect(of({ dst: 'default', nexthops: [{ gateway: 'fe80::1', index: 1 }] })).toMatchObject({ family: 10 })
    expect(of({ dst: '0.0.0.0/0', index: 1 }).attributes.dst).toBeUndefined()
  })

  it('have a scope as in ip-route(8)', () => {
    expect(of({ dst: '10.0.0.0/8', index: 1 }).scope).toBe(253)
    expect(of({ dst: '10.0.0.0/8', gateway: '10.0.0.1' }).scope).toBe(0)
    expect(of({ dst: '10.0.0.1', index: 1, type: 'local' }).scope).toBe(254)
    expect(of({ dst: '10.0.0.0/8', type: 'blackhole' }).scope).toBe(0)
    expect(of({ dst: '10.0.0.0/8', index: 1, scope: 'global' }).scope).toBe(0)
    expect(sent(routeLayout, route.delete({ dst: '10.0.0.0/8' })).scope).toBe(255)
  })

  it('are checked', () => {
    for (const bad of ['', 'x/8', '10.0.0.0/33', 'Default'])
      expect(() => route.add({ dst: bad, index: 1 })).toThrow(RangeError)
    expect(() => route.add({ dst: '10.0.0.0/8', gateway: 'x' })).toThrow(RangeError)
    expect(() => route.add({ dst: '10.0.0.0/8', table: 'mian' as never })).toThrow(RangeError)
    expect(() => route.add({ dst: '10.0.0.0/8', nexthops: [{ index: 1, weight: 0 }] })).toThrow(RangeError)
    expect(() => route.add({ dst: '10.0.0.0/8', nexthops: [{ index: 1, weight: 257 }] })).toThrow(RangeError)
  })

  it('say in errors what they are', () => {
    expect(route.add({ dst: 'default', gateway: '10.0.0.1', index: 2, table: 7 }).op).toBe(
      'add route default via 10.0.0.1 dev 2 table 7',
    )
  })
})

describe('rules and neighbours', () => {
  it('are checked', () => {
    expect(() => rule.add({ from: '10.0.0.0/8', to: '2001:db8::/32' })).toThrow(/two families/)
    expect(() => rule.add({ from: 'x' })).toThrow(RangeError)
    expect(() => neighbour.add({ index: 1, ip: '10.0.0.1/24' })).toThrow(RangeError)
    expect(() => encode([neighbour.add({ index: 1, ip: '10.0.0.1', address: 'x' })], 1)).toThrow(RangeError)
  })
})

describe('VLANs', () => {
  it('go by runs, all in one message', () => {
    const all = sent(
      bridgeMessageLayout,
      bridgeVlan.add(7, [
        { vid: 1, pvid: true, untagged: true },
        { vid: 2, last: 4094 },
      ]),
    )
    expect(all.attributes.afSpec?.vlanInfo).toEqual([
      { flags: 6, vid: 1 },
      { flags: 8, vid: 2 },
      { flags: 16, vid: 4094 },
    ])
    const single = Array.from({ length: 4094 }, (_, i) => ({ vid: i + 1 }))
    expect(sent(bridgeMessageLayout, bridgeVlan.add(7, single)).attributes.afSpec?.vlanInfo).toHaveLength(
      4094,
    )
  })

  it('are checked', () => {
    for (const bad of [
      { vid: 0 },
      { vid: 4095 },
      { vid: 5, last: 4 },
      { vid: 1.5 },
      { vid: 1, last: 2, pvid: true },
    ])
      expect(() => bridgeVlan.add(7, [bad])).toThrow(RangeError)
  })
})
