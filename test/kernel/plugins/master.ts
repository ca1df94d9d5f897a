/** A host with an Ethernet interface `eth1` whose wire ends in another namespace, the network outside. */
import { type Space, space } from '../../support/space.ts'
import { type Node, node } from './node.ts'

export interface Wired {
  readonly node: Node
  /** Has the other end, `wire0`, with 10.9.0.1/24 and fd09::1/64. */
  readonly outside: Space
}

/** Plugs a wire into `there`: its interface `name` ends in a new namespace. */
export const plug = async (there: Space, name: string): Promise<Space> => {
  const outside = await space()
  await there.ip('link', 'add', name, 'type', 'veth', 'peer', 'name', 'wire0', 'netns', String(outside.pid))
  await there.ip('link', 'set', name, 'up')
  // Addresses are there at once: nobody else is on the wire yet.
  await outside.must('sh', ['-c', 'echo 0 >/proc/sys/net/ipv6/conf/wire0/accept_dad'])
  await outside.ip('link', 'set', 'wire0', 'up')
  await outside.ip('address', 'add', '10.9.0.1/24', 'dev', 'wire0')
  await outside.ip('address', 'add', 'fd09::1/64', 'dev', 'wire0', 'nodad')
  return outside
}

export const wired = async (): Promise<Wired> => {
  const made = await node()
  return { node: made, outside: await plug(made.host, 'eth1') }
}
