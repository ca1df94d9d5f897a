/** Connections without sockets: what is written to one end comes out of the other. */
import { duplexPair } from 'node:stream'
import { Calls } from '../../../../../ipam/dhcp/rpc/calls.ts'
import { Incoming } from '../../../../../ipam/dhcp/rpc/incoming.ts'

/** A connection's two ends: a client's, and what a server needs to answer it. */
export const ends = () => {
  const [near, far] = duplexPair()
  const client = { stream: near, incoming: new Incoming(near) }
  const server = {
    incoming: new Incoming(far),
    calls: new Calls(),
    open: true,
    send: (bytes: Uint8Array) => void far.write(bytes),
  }
  return { client, server, far }
}

/** All that comes until the stream ends. */
export const everything = async (incoming: Incoming): Promise<Uint8Array> => {
  while (await incoming.more());
  return incoming.queue.take(incoming.queue.length)
}
