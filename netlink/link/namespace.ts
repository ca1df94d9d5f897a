import type { Descriptor } from '../../native/binding.ts'
import type { Codec } from '../codec/types.ts'
import { u32 } from '../codec/types.ts'
import type { Netns } from '../netns.ts'

/** A namespace where the kernel wants a descriptor of it. */
export type NamespaceRef = Netns | Descriptor

/** The attributes that put a link into a namespace. */
export interface NamespaceAttributes {
  readonly netNsFd: Pick<Descriptor, 'fd'> | undefined
  readonly netNsPid: number | undefined
}

const nowhere: NamespaceAttributes = { netNsFd: undefined, netNsPid: undefined }

/**
 * IFLA_NET_NS_FD. The number is taken when the message is written, not when the request is made: in between, a closed
 * descriptor's number may have come to mean something else.
 */
export const namespaceFd: Codec<number | Pick<Descriptor, 'fd'>> = {
  write(writer, value) {
    const fd = typeof value === 'number' ? value : value.fd
    if (fd < 0) throw new RangeError('the namespace is closed')
    u32.write(writer, fd)
  },
  read: u32.read,
}

/** Of the program's own namespace no descriptor is held; the kernel finds it by the process. */
export const namespaceAttributes = (netns: NamespaceRef | undefined): NamespaceAttributes => {
  if (!netns) return nowhere
  const descriptor = 'descriptor' in netns ? netns.descriptor : netns
  return { netNsFd: descriptor ?? undefined, netNsPid: descriptor ? undefined : process.pid }
}
