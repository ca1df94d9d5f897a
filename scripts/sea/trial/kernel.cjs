'use strict'
/**
 * A kernel of make-believe, as the addon's functions show one: links, addresses, routes and nf_tables that are listed as
 * they were made. It answers what an attachment's life asks, on any machine the same, and is no model of Linux.
 */
const { closeSync, openSync } = require('node:fs')

const HEADER = 16
const NLMSG_ERROR = 2
const NLMSG_DONE = 3
const NLM_F_MULTI = 2
const NLM_F_ACK = 4
const NLM_F_DUMP = 0x300
const NETLINK_NETFILTER = 12
const RTM_NEWLINK = 16
const RTM_NEWADDR = 20
const RTM_NEWROUTE = 24
const RTM_GETNSID = 90
const NFNL_MSG_BATCH_BEGIN = 16
const NFT_MSG_GETGEN = 0xa10
const IFLA = {
  address: 1,
  name: 3,
  mtu: 4,
  link: 5,
  master: 10,
  operState: 16,
  linkInfo: 18,
  netNsFd: 28,
  group: 27,
  linkNetnsId: 37,
}
const ENOENT = 2
const ENODEV = 19

const align = (size) => (size + 3) & ~3

const u32 = (value) => {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32LE(value)
  return bytes
}

const attributesOf = (bytes) => {
  const found = new Map()
  for (let at = 0; at + 4 <= bytes.length; ) {
    const size = bytes.readUInt16LE(at)
    if (size < 4) break
    found.set(bytes.readUInt16LE(at + 2) & 0x3fff, bytes.subarray(at + 4, at + size))
    at += align(size)
  }
  return found
}

const attribute = (type, value) => {
  const bytes = Buffer.alloc(align(4 + value.length))
  bytes.writeUInt16LE(4 + value.length, 0)
  bytes.writeUInt16LE(type, 2)
  value.copy(bytes, 4)
  return bytes
}

const message = (type, flags, seq, payload) => {
  const bytes = Buffer.alloc(HEADER + align(payload.length))
  bytes.writeUInt32LE(HEADER + payload.length, 0)
  bytes.writeUInt16LE(type, 4)
  bytes.writeUInt16LE(flags, 6)
  bytes.writeUInt32LE(seq, 8)
  payload.copy(bytes, HEADER)
  return bytes
}

const closing = (request, errno) =>
  message(
    NLMSG_ERROR,
    0x100,
    request.seq,
    Buffer.concat([Buffer.from(Int32Array.of(-errno).buffer), request.head]),
  )

/** One namespace's links, and everything else by the kind of its messages. */
class Namespace {
  constructor() {
    this.links = []
    this.objects = new Map()
    this.add(0, new Map([[IFLA.name, Buffer.from('lo\0')]]), 0x49, 772)
  }

  add(index, attributes, flags = 0x1003, type = 1) {
    const free = index || Math.max(0, ...this.links.map((link) => link.index)) + 1
    const defaults = [
      [IFLA.address, Buffer.of(2, 0, 0, 0, 0, free)],
      [IFLA.mtu, u32(1500)],
      [IFLA.operState, Buffer.of(6)],
      [IFLA.group, u32(0)],
    ]
    const link = { index: free, type, flags, attributes: new Map([...defaults, ...attributes]) }
    this.links.push(link)
    return link
  }

  find(index, attributes) {
    const name = attributes.get(IFLA.name)
    return this.links.find((link) =>
      index ? link.index === index : name && link.attributes.get(IFLA.name).equals(name),
    )
  }
}

class Kernel {
  #namespaces = { host: new Namespace(), container: new Namespace() }
  #descriptors = new Map()
  #fd = 1000

  constructor() {
    for (const name of ['mv0', 'hd0'])
      this.#namespaces.host.add(0, new Map([[IFLA.name, Buffer.from(`${name}\0`)]]), 0x11043)
  }

  /** A descriptor of something in a namespace. */
  #describe(where, protocol) {
    const descriptor = {
      fd: this.#fd++,
      where,
      protocol,
      close: () => {
        descriptor.fd = -1
      },
    }
    this.#descriptors.set(descriptor.fd, descriptor)
    return descriptor
  }

  #openFile(path, flags, mode) {
    const file = { fd: openSync(path, flags, mode) }
    file.close = () => {
      if (file.fd >= 0) closeSync(file.fd)
      file.fd = -1
    }
    return file
  }

  /** The addon's functions. @param folder where files are real */
  bindingFor(folder) {
    return {
      openNetlink: (netns, protocol) => this.#describe(netns ? netns.where : 'host', protocol),
      identifyNetns: (netns) => (netns?.where === 'container' ? '4:2' : '4:1'),
      sysctls: (_, sysctls) => sysctls.map(({ path }) => (/forward(ing)?$/.test(path) ? '1' : '0')),
      open: (path, flags, mode) => {
        if (path.startsWith(folder)) return this.#openFile(path, flags, mode)
        return this.#describe(path === '/container' ? 'container' : 'host')
      },
      // NS_GET_NSTYPE: CLONE_NEWNET.
      ioctl: () => 0x40000000,
      closeApart: (descriptor) => descriptor.close(),
      tryFlock: () => true,
      countLinks: () => 1,
      flock: async () => {},
      bind: () => {},
      transactSync: (socket, datagram) => this.#transact(socket, Buffer.from(datagram)),
      transact: async (socket, datagram) => this.#transact(socket, Buffer.from(datagram)),
    }
  }

  #transact({ where, protocol }, datagram) {
    const replies = []
    for (let at = 0; at + HEADER <= datagram.length; ) {
      const length = datagram.readUInt32LE(at)
      const bytes = datagram.subarray(at, at + length)
      const request = {
        ...{ type: bytes.readUInt16LE(4), flags: bytes.readUInt16LE(6), seq: bytes.readUInt32LE(8) },
        ...{ head: bytes.subarray(0, HEADER), payload: bytes.subarray(HEADER) },
      }
      replies.push(...this.#answer(where, protocol === NETLINK_NETFILTER, request))
      at += align(length)
    }
    return new Uint8Array(Buffer.concat(replies))
  }

  #answer(where, isNetfilter, request) {
    const { type, flags, seq } = request
    if (process.env.TRACE)
      console.error(
        where,
        type.toString(16),
        flags.toString(16),
        request.payload.toString('hex').slice(0, 160),
      )
    if (isNetfilter && (type === NFNL_MSG_BATCH_BEGIN || type === NFNL_MSG_BATCH_BEGIN + 1))
      return flags & NLM_F_ACK ? [closing(request, 0)] : []
    const objects = isNetfilter ? this.#nftables(where, request) : this.#route(where, request)
    if (typeof objects === 'number') return [closing(request, objects)]
    const isDump = (flags & NLM_F_DUMP) === NLM_F_DUMP
    const listed = objects.map(([as, payload]) => message(as, isDump ? NLM_F_MULTI : 0, seq, payload))
    if (isDump) return [...listed, message(NLMSG_DONE, NLM_F_MULTI, seq, u32(0))]
    return flags & NLM_F_ACK ? [...listed, closing(request, 0)] : listed
  }

  /** What is listed, or an errno. */
  #route(where, request) {
    const family = (request.type - RTM_NEWLINK) >> 2
    const verb = ['make', 'remove', 'list', 'change'][(request.type - RTM_NEWLINK) & 3]
    if (request.type === RTM_GETNSID)
      return [[RTM_GETNSID - 2, Buffer.concat([u32(0), attribute(1, u32(0))])]]
    if (family === 0) return this.#link(where, verb, request)
    const kind = RTM_NEWLINK + 4 * family
    const { objects } = this.#namespaces[where]
    const kept = objects.get(kind) ?? []
    if (verb === 'make') objects.set(kind, [...kept, request.payload])
    if (verb === 'make' && kind === RTM_NEWADDR) this.#reach(objects, request.payload)
    if (verb !== 'list') return []
    // An address's interface; 0 for all. Routes have something else there.
    const index = kind === RTM_NEWADDR ? request.payload.readUInt32LE(4) : 0
    return kept.filter((one) => index === 0 || one.readUInt32LE(4) === index).map((one) => [kind, one])
  }

  /** The route to the subnet of an address, as the kernel makes it. */
  #reach(objects, payload) {
    const address = Buffer.from(attributesOf(payload.subarray(8)).get(1))
    for (let bit = payload[1]; bit < 8 * address.length; bit++) address[bit >> 3] &= ~(0x80 >> (bit & 7))
    // struct rtmsg: the main table, RTPROT_KERNEL, RT_SCOPE_LINK, RTN_UNICAST; then RTA_DST and RTA_OIF.
    const head = Buffer.of(payload[0], payload[1], 0, 0, 254, 2, 253, 1, 0, 0, 0, 0)
    const route = Buffer.concat([head, attribute(1, address), attribute(4, payload.subarray(4, 8))])
    objects.set(RTM_NEWROUTE, [...(objects.get(RTM_NEWROUTE) ?? []), route])
  }

  #link(where, verb, { payload, flags }) {
    const namespace = this.#namespaces[where]
    const index = payload.readUInt32LE(4)
    const attributes = attributesOf(payload.subarray(HEADER))
    if (verb === 'list' && (flags & NLM_F_DUMP) === NLM_F_DUMP)
      return namespace.links.map((link) => [RTM_NEWLINK, this.#print(link)])
    const found = namespace.find(index, attributes)
    if (verb === 'make' && (flags & 0x400) !== 0 && !found)
      return this.#make(where, index, payload, attributes)
    if (!found) return ENODEV
    if (verb === 'list') return [[RTM_NEWLINK, this.#print(found)]]
    if (verb === 'remove') {
      for (const { links } of Object.values(this.#namespaces))
        for (const one of [found, found.peer]) if (links.includes(one)) links.splice(links.indexOf(one), 1)
      return []
    }
    const change = payload.readUInt32LE(12)
    found.flags = (found.flags & ~change) | (payload.readUInt32LE(8) & change)
    const to = attributes.get(IFLA.netNsFd)
    attributes.delete(IFLA.netNsFd)
    for (const [type, value] of attributes) found.attributes.set(type, value)
    if (to) {
      namespace.links.splice(namespace.links.indexOf(found), 1)
      this.#namespaces[this.#placeOf(to, where)].links.push(found)
    }
    return []
  }

  #placeOf(fd, otherwise) {
    return fd ? (this.#descriptors.get(fd.readUInt32LE())?.where ?? 'host') : otherwise
  }

  #make(where, index, payload, attributes) {
    const at = this.#placeOf(attributes.get(IFLA.netNsFd), where)
    attributes.delete(IFLA.netNsFd)
    const link = this.#namespaces[at].add(index, attributes, 0x1002 | payload.readUInt32LE(8))
    const info = attributesOf(attributes.get(IFLA.linkInfo) ?? Buffer.alloc(0))
    const peer = info.get(1)?.toString('latin1').startsWith('veth')
      ? attributesOf(info.get(2)).get(1)
      : undefined
    if (!peer) return []
    const theirs = attributesOf(peer.subarray(HEADER))
    const there = this.#placeOf(theirs.get(IFLA.netNsFd), at)
    theirs.delete(IFLA.netNsFd)
    theirs.set(IFLA.linkInfo, attribute(1, Buffer.from('veth\0')))
    const other = this.#namespaces[there].add(peer.readUInt32LE(4), theirs, 0x11003 | peer.readUInt32LE(8))
    attributes.set(IFLA.linkInfo, theirs.get(IFLA.linkInfo))
    for (const [one, its] of [
      [link, other],
      [other, link],
    ]) {
      one.peer = its
      one.flags |= 0x10040
      one.attributes.set(IFLA.link, u32(its.index))
      one.attributes.set(IFLA.linkNetnsId, u32(0))
      one.attributes.set(IFLA.linkInfo, theirs.get(IFLA.linkInfo))
    }
    return []
  }

  #print({ index, type, flags, attributes }) {
    const head = Buffer.alloc(HEADER)
    head.writeUInt16LE(type, 2)
    head.writeUInt32LE(index, 4)
    head.writeUInt32LE(flags, 8)
    return Buffer.concat([head, ...[...attributes].map(([kind, value]) => attribute(kind, value))])
  }

  #nftables(where, { type, payload, flags }) {
    const { objects } = this.#namespaces[where]
    if (type === NFT_MSG_GETGEN)
      return [[type - 1, Buffer.concat([payload.subarray(0, 4), attribute(1, Buffer.of(0, 0, 0, 1))])]]
    // NEW, GET and DEL of one kind are three numbers in a row.
    const kind = type - ((type & 0xff) % 3)
    const kept = objects.get(kind) ?? []
    const verb = ['make', 'list', 'remove'][(type & 0xff) % 3]
    if (verb === 'make') {
      const handle = Buffer.alloc(8)
      handle.writeUInt32BE(kept.length + 1, 4)
      // NFTA_TABLE_HANDLE, NFTA_CHAIN_HANDLE, NFTA_RULE_HANDLE; sets have theirs elsewhere.
      const at = { 0: 4, 3: 2, 6: 3, 9: 16 }[kind & 0xff]
      objects.set(kind, [...kept, at ? Buffer.concat([payload, attribute(at, handle)]) : payload])
      return []
    }
    if (verb === 'remove') return []
    const asked = attributesOf(payload.subarray(4))
    const found = kept.filter((one) => {
      const its = attributesOf(one.subarray(4))
      return [...asked].every(([key, value]) => key > 3 || !its.has(key) || its.get(key).equals(value))
    })
    if ((flags & NLM_F_DUMP) !== NLM_F_DUMP && found.length === 0) return ENOENT
    return found.map((one) => [kind, one])
  }
}

module.exports = { Kernel }
