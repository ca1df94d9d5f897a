import { table } from '../codec/table.ts'
import type { Codec } from '../codec/types.ts'
import { flatRows, ifinfomsg } from './attributes.ts'
import { type CommonOptions, commonAttributes } from './options.ts'

/** The other end of a veth pair: its own name, index, MAC, MTU and namespace. It can't be created up. */
export type VethPeer = CommonOptions

const flat = table(flatRows)

/** VETH_INFO_PEER: `struct ifinfomsg`, then attributes: a link message inside a link message. */
const peer: Codec<VethPeer> = {
  nested: true,
  write(writer, value) {
    ifinfomsg.write(writer, { index: value.index })
    flat.write(writer, commonAttributes(value))
  },
  read(payload) {
    const { index } = ifinfomsg.read(payload)
    const attributes = flat.readFrom(payload, ifinfomsg.size)
    return {
      index,
      name: attributes.ifname,
      mtu: attributes.mtu,
      address: attributes.address,
      txQueueLength: attributes.txqlen,
    }
  },
}

/**
 * `VETH_INFO_*`, linux/veth.h. The kernel never tells them back: the peer of a veth is its `link`, in `linkNetnsId`.
 * `ip link add NAME type veth peer name PEER`
 */
export const veth = table({ peer: [1, peer] })
