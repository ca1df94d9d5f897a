// Two namespaces, a veth pair between them, an address each. Needs root; changes nothing outside.
import { address, link, Netns } from 'linkwright/netlink'

const left = Netns.create()
const right = Netns.create()
const l = left.connect()
const r = right.connect()
try {
  await l.run(
    link.add({
      kind: 'veth',
      name: 'east',
      index: 2,
      data: { peer: { name: 'west', index: 2, netns: right } },
    }),
  )
  for (const [connection, own] of [
    [l, '10.0.0.1/24'],
    [r, '10.0.0.2/24'],
  ])
    for (const outcome of await connection.batch([
      address.add({ index: 2, address: own }),
      link.set(2, { up: true }),
    ]))
      if (!outcome.ok) throw outcome.error
  const { name, address: mac, mtu } = await l.run(link.get('east'))
  const own = await l.run(address.list({ index: 2 }))
  console.log({ name, mac, mtu, addresses: own.map((each) => each.address) })
} finally {
  for (const each of [l, r, left, right]) each.close()
}
