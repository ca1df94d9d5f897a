/** TUN/TAP devices: the interface's other end is a program (a virtual machine, a VPN). `import { tun } from 'linkwright/netlink'` */
import { constants } from 'node:fs'
import { type Binding, binding, type Descriptor } from '../native/binding.ts'
import { during } from './error.ts'
import { checkName } from './link/name.ts'
import type { Netns } from './netns.ts'

/** What makes them. */
export const TUN_DEVICE = '/dev/net/tun'

/** linux/if_tun.h, `_IOW('T', n, int)`. All but SETIFF and SETIFINDEX take their number by value. */
const TUNSETIFF = 0x400454ca
const TUNSETPERSIST = 0x400454cb
const TUNSETOWNER = 0x400454cc
const TUNSETGROUP = 0x400454ce
const TUNSETIFINDEX = 0x400454da

/** `IFF_*` of linux/if_tun.h. */
const IFF_TAP = 0x0002
const IFF_MULTI_QUEUE = 0x0100
const IFF_NO_PI = 0x1000
const IFF_TUN_EXCL = 0x8000

/** `struct ifreq`: 16 bytes of name, then a union, here of flags. */
const IFREQ_SIZE = 40
const FLAGS_OFFSET = 16

export interface TapOptions {
  readonly name: string
  /** The index it shall get. Default: the kernel's choice. */
  readonly index?: number | undefined
  /** Several programs, or threads of one, may open it at a time, each with a queue. Default false. */
  readonly multiQueue?: boolean | undefined
  /** User and group that may open it without CAP_NET_ADMIN. Default: nobody. */
  readonly owner?: number | undefined
  readonly group?: number | undefined
  /** SELinux label. Default: that of this process. */
  readonly label?: string | undefined
}

/** A tap device that this program has open: it goes when it is closed, unless it was made to stay. */
export interface Tap {
  /** Frames are read from it and written to it; nonblocking. */
  readonly descriptor: Descriptor
  /** Makes it stay. @throws SocketError */
  keep(): void
  /** Safe to repeat. */
  close(): void
}

const ifreq = (name: string, flags: number): Uint8Array => {
  const bytes = new Uint8Array(IFREQ_SIZE)
  bytes.set(new TextEncoder().encode(checkName(name)))
  new Uint16Array(bytes.buffer, FLAGS_OFFSET, 1)[0] = flags
  return bytes
}

/** @throws SocketError */
const openDevice = (netns: Netns): Descriptor => {
  try {
    // A device lives in the namespace that the file was opened in.
    return netns.open({ path: TUN_DEVICE, flags: constants.O_RDWR | constants.O_NONBLOCK })
  } catch (error) {
    throw during(`open ${TUN_DEVICE}`, error)
  }
}

/** @throws SocketError; the device is closed then */
const request = (what: string, device: Descriptor, send: (native: Binding) => void): void => {
  try {
    send(binding())
  } catch (error) {
    device.close()
    throw during(what, error)
  }
}

const tapOf = (descriptor: Descriptor, name: string): Tap => ({
  descriptor,
  keep: () =>
    request(`make tap ${name} stay`, descriptor, (native) => native.ioctl(descriptor, TUNSETPERSIST, 1)),
  close: () => descriptor.close(),
})

/**
 * Makes a new tap device, which is down. Whether frames carry a `virtio_net_hdr` is for each program that opens it to say
 * (IFF_VNET_HDR). Equivalent, with `keep`: `ip -n NS tuntap add NAME mode tap [user UID] [group GID] [multi_queue]`.
 * @throws SocketError: ENOENT, ENODEV or ENXIO (no tun in this kernel), EBUSY (name or index taken), EPERM; of `setcon`,
 * where this process may not take on the label
 * @throws RangeError for a name no interface can have
 */
export const createTap = (netns: Netns, options: TapOptions): Tap => {
  const { name, index, multiQueue, owner, group, label } = options
  // Without EXCL one that is there already would be opened.
  const flags = IFF_TAP | IFF_NO_PI | IFF_TUN_EXCL | (multiQueue ? IFF_MULTI_QUEUE : 0)
  const wanted = ifreq(name, flags)
  const device = openDevice(netns)
  request(`add tap ${name}`, device, (native) => {
    if (index !== undefined) native.ioctl(device, TUNSETIFINDEX, new Uint8Array(Uint32Array.of(index).buffer))
    if (label === undefined) native.ioctl(device, TUNSETIFF, wanted)
    else native.ioctlLabelled(device, TUNSETIFF, wanted, label)
    if (owner !== undefined) native.ioctl(device, TUNSETOWNER, owner)
    if (group !== undefined) native.ioctl(device, TUNSETGROUP, group)
  })
  return tapOf(device, name)
}

/**
 * Opens a tap device that is there, or makes it: as a virtual machine does it. With `multiQueue`, which has to be as it
 * was made, it gets one more queue.
 * @throws SocketError: EBUSY (opened by somebody else), EINVAL (it is no tap, or `multiQueue` is not as it was made)
 */
export const openTap = (netns: Netns, { name, multiQueue }: Pick<TapOptions, 'name' | 'multiQueue'>): Tap => {
  const wanted = ifreq(name, IFF_TAP | IFF_NO_PI | (multiQueue ? IFF_MULTI_QUEUE : 0))
  const device = openDevice(netns)
  request(`open tap ${name}`, device, (native) => native.ioctl(device, TUNSETIFF, wanted))
  return tapOf(device, name)
}
