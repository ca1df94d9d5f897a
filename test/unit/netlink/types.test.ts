/** The types are part of the product: what is wrong here must not compile. */
import { expectTypeOf, it } from 'vitest'
import {
  type Address,
  type Connection,
  type Link,
  link,
  type Outcome,
  type Request,
  route,
} from '../../../netlink/index.ts'

it('the data of a link is that of its kind', () => {
  link.add({ name: 'a', kind: 'bridge', data: { vlanFiltering: true } })
  link.add({ name: 'a', kind: 'wireguard', raw: new Uint8Array(4) })
  // @ts-expect-error a switch is no number
  link.add({ name: 'a', kind: 'bridge', data: { vlanFiltering: 1 } })
  // @ts-expect-error no such attribute
  link.add({ name: 'a', kind: 'bridge', data: { vlanFltering: true } })
  // @ts-expect-error of another kind
  link.add({ name: 'a', kind: 'macvlan', data: { vlanFiltering: true } })
  // @ts-expect-error no such mode
  link.add({ name: 'a', kind: 'macvlan', data: { mode: 'brigde' } })
  // @ts-expect-error no such option
  link.add({ name: 'a', kind: 'dummy', mut: 1500 })
  // @ts-expect-error no such setting
  link.set(1, { afSpec: { inet: { conf: { arpNotfy: 1 } } } })
  // @ts-expect-error no such port setting
  link.setBridgePort(1, { harpin: true })
})

it('a kind that was asked for tells the type of the data', () => {
  const read = (one: Link) => {
    if (one.kind === 'bridge') expectTypeOf(one.data?.vlanFiltering).toEqualTypeOf<boolean | undefined>()
    if (one.kind === 'vlan') expectTypeOf(one.data?.id).toEqualTypeOf<number | undefined>()
    if (one.portKind === 'bridge') expectTypeOf(one.portData?.hairpin).toEqualTypeOf<boolean | undefined>()
    expectTypeOf(one.kind).toEqualTypeOf<string | undefined>()
  }
  expectTypeOf(read).returns.toBeVoid()
})

it('requests know what their answer means', () => {
  expectTypeOf(link.get('a')).toExtend<Request<Link>>()
  expectTypeOf(link.add({ name: 'a', kind: 'ifb' })).toEqualTypeOf<Request<void>>()
  const batch = (conn: Connection) => conn.batch([link.get('a'), link.set(1, { up: true })])
  expectTypeOf<Awaited<ReturnType<typeof batch>>>().toEqualTypeOf<readonly [Outcome<Link>, Outcome<void>]>()
  // @ts-expect-error no such mode
  route.add({ dst: 'default', mode: 'prepend' })
  expectTypeOf<Address['family']>().toEqualTypeOf<4 | 6>()
})
