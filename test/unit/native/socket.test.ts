import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, onTestFinished, test } from 'vitest'
import type { Descriptor } from '../../../native/binding.ts'
import {
  AF_UNIX,
  closing,
  held,
  native,
  refusal,
  SOCK_DGRAM,
  SOCK_STREAM,
  SOL_SOCKET,
  socket,
  streamPair,
  uniqueName,
  unixAddress,
} from './support.ts'

const text = (bytes: Uint8Array): string => Buffer.from(bytes).toString()
const int = (value: number): Uint8Array => new Uint8Array(Int32Array.of(value).buffer)
const SO_PEERCRED = 17
const MSG_TRUNC = 0x20
const MSG_CTRUNC = 8

const temporary = (): string => {
  const directory = mkdtempSync(join(tmpdir(), 'linkwright-'))
  onTestFinished(() => rmSync(directory, { recursive: true }))
  return directory
}

describe('stream sockets', () => {
  test('carry bytes both ways, and end', () => {
    const [client, server] = streamPair()
    expect(native.receive(server, 100)).toBeNull()
    expect(native.send(client, Buffer.from('hello'))).toBe(5)
    const received = native.receive(server, 100)!
    expect(text(received.data)).toBe('hello')
    expect(received.address).toHaveLength(0)
    expect(received.descriptors).toEqual([])
    expect(received.flags).toBe(0)
    expect(native.send(server, Buffer.from('good bye'))).toBe(8)
    server.close()
    expect(text(native.receive(client, 4)!.data)).toBe('good')
    expect(text(native.receive(client, 100)!.data)).toBe(' bye')
    expect(native.receive(client, 100)!.data).toHaveLength(0)
    // No SIGPIPE either.
    expect(refusal(() => native.send(client, Buffer.from('x'))).code).toBe('EPIPE')
  })

  test('say -1 when they are full', () => {
    const [client, server] = streamPair()
    const chunk = new Uint8Array(1 << 16)
    let sent = 0
    for (let count = 0; count !== -1; count = native.send(client, chunk)) sent += count
    expect(sent).toBeGreaterThan(0)
    for (let left = sent; left > 0; ) left -= native.receive(server, 1 << 20)!.data.length
    expect(native.send(client, chunk)).toBeGreaterThan(0)
  })

  test('accept only who is there', () => {
    const address = unixAddress(uniqueName())
    const server = socket(AF_UNIX, SOCK_STREAM)
    expect(refusal(() => native.connect(server, address)).code).toBe('ECONNREFUSED')
    native.bind(server, address)
    native.listen(server, 0)
    expect(native.accept(server)).toBeNull()
    const client = socket(AF_UNIX, SOCK_STREAM)
    native.connect(client, address)
    expect(closing(native.accept(server)!).fd).toBeGreaterThan(2)
    expect(native.accept(server)).toBeNull()
    expect(refusal(() => native.accept(client)).syscall).toBe('accept4')
  })

  test('know who the peer is', () => {
    const [client] = streamPair()
    const [pid, uid, gid] = new Int32Array(
      native.getsockopt(client, SOL_SOCKET, SO_PEERCRED, 12).slice().buffer,
    )
    expect({ pid, uid, gid }).toEqual({ pid: process.pid, uid: process.getuid!(), gid: process.getgid!() })
  })

  test('that failed to connect tell why', () => {
    const client = socket(AF_UNIX, SOCK_STREAM)
    expect(refusal(() => native.connect(client, unixAddress(uniqueName())))).toMatchObject({
      code: 'ECONNREFUSED',
      syscall: 'connect',
    })
    expect(refusal(() => native.listen(socket(AF_UNIX, SOCK_DGRAM), 1)).code).toBe('EOPNOTSUPP')
  })
})

describe('datagram sockets', () => {
  const pair = (): { client: Descriptor; server: Descriptor; address: Uint8Array; from: Uint8Array } => {
    const [address, from] = [unixAddress(uniqueName()), unixAddress(uniqueName())]
    const [server, client] = [socket(AF_UNIX, SOCK_DGRAM), socket(AF_UNIX, SOCK_DGRAM)]
    native.bind(server, address)
    native.bind(client, from)
    return { client, server, address, from }
  }

  test('carry datagrams and the sender', () => {
    const { client, server, address, from } = pair()
    expect(native.send(client, Buffer.from('one'), address)).toBe(3)
    expect(native.send(client, new Uint8Array(), address)).toBe(0)
    const one = native.receive(server, 100)!
    expect(text(one.data)).toBe('one')
    expect(Buffer.from(one.address)).toEqual(from)
    expect(native.receive(server, 100)!.data).toHaveLength(0)
    expect(native.receive(server, 100)).toBeNull()
    expect(Buffer.from(native.getsockname(server))).toEqual(address)
    expect(refusal(() => native.send(client, Buffer.from('x'))).code).toBe('ENOTCONN')
  })

  test('tell when a datagram was cut', () => {
    const { client, server, address } = pair()
    native.send(client, Buffer.from('long'), address)
    const received = native.receive(server, 2)!
    expect(text(received.data)).toBe('lo')
    expect(received.flags & MSG_TRUNC).toBe(MSG_TRUNC)
  })

  test('give every datagram bytes of its own', () => {
    const { client, server, address } = pair()
    native.send(client, Buffer.from('first'), address)
    native.send(client, Buffer.from('second'), address)
    const first = native.receive(server, 100)!.data
    const second = native.receive(server, 100)!.data
    expect([text(first), text(second)]).toEqual(['first', 'second'])
    expect(first.buffer.byteLength).toBe(5)
  })

  test('have options', () => {
    const server = socket(AF_UNIX, SOCK_DGRAM)
    const SO_RCVBUF = 8
    native.setsockopt(server, SOL_SOCKET, SO_RCVBUF, int(20_000))
    // The kernel doubles it, socket(7).
    expect(native.getsockopt(server, SOL_SOCKET, SO_RCVBUF, 4)).toEqual(int(40_000))
    expect(native.getsockopt(server, SOL_SOCKET, SO_RCVBUF, 64)).toHaveLength(4)
    expect(refusal(() => native.setsockopt(server, SOL_SOCKET, 9999, int(1)))).toMatchObject({
      code: 'ENOPROTOOPT',
      syscall: 'setsockopt',
    })
  })

  test('take a BPF filter', () => {
    const { client, server, address } = pair()
    // ret #3: three bytes of each datagram. `struct sock_filter`: code, jt, jf, k.
    const program = Buffer.from([6, 0, 0, 0, 3, 0, 0, 0])
    native.attachFilter(server, program)
    native.send(client, Buffer.from('filtered'), address)
    expect(text(native.receive(server, 100)!.data)).toBe('fil')
    // A jump past the end.
    const broken = Buffer.from([5, 0, 0, 0, 9, 0, 0, 0])
    expect(refusal(() => native.attachFilter(server, broken)).code).toBe('EINVAL')
  })
})

describe('descriptor passing', () => {
  test('gives the receiver the same open file', () => {
    const path = join(temporary(), 'passed')
    writeFileSync(path, 'shared')
    const [client, server] = streamPair()
    const file = native.open(path, 2, 0)
    expect(native.send(client, Buffer.from('file'), null, [file, client])).toBe(4)
    file.close()
    const received = native.receive(server, 10)!
    const [copy, socketCopy] = received.descriptors.map(closing)
    expect(received.descriptors).toHaveLength(2)
    expect(text(received.data)).toBe('file')
    writeSync(copy!.fd, 'S')
    expect(readFileSync(path, 'utf8')).toBe('Shared')
    native.send(socketCopy!, Buffer.from('by the copy'))
    expect(text(native.receive(server, 20)!.data)).toBe('by the copy')
  })

  test('works up to the limit of the kernel, and leaks none', () => {
    const [client, server] = streamPair()
    const file = closing(native.open('/dev/null', 0, 0))
    const before = held().descriptors
    for (let round = 0; round < 5; round++) {
      native.send(client, Buffer.from('x'), undefined, new Array(253).fill(file))
      const { descriptors, flags } = native.receive(server, 1)!
      expect(descriptors).toHaveLength(253)
      expect(flags & MSG_CTRUNC).toBe(0)
      for (const descriptor of descriptors) descriptor.close()
    }
    expect(held().descriptors).toBe(before)
  })

  test('refuses a closed one', () => {
    const [client] = streamPair()
    const file = native.open('/dev/null', 0, 0)
    file.close()
    expect(refusal(() => native.send(client, Buffer.from('x'), null, [file])).code).toBe('EBADF')
  })
})

describe('files', () => {
  test('are opened with the mode given', () => {
    const path = join(temporary(), 'made')
    const O_CREAT_EXCL_WRONLY = 0o301
    const file = closing(native.open(path, O_CREAT_EXCL_WRONLY, 0o600))
    writeSync(file.fd, 'content')
    expect(readFileSync(path, 'utf8')).toBe('content')
    expect(refusal(() => native.open(path, O_CREAT_EXCL_WRONLY, 0o600)).code).toBe('EEXIST')
  })

  test('adopted are ours to close', () => {
    const fd = openSync('/dev/null', 'r')
    const adopted = native.adopt(fd)
    expect(adopted.fd).toBe(fd)
    adopted.close()
    expect(() => closeSync(fd)).toThrow('EBADF')
    expect(refusal(() => native.adopt(fd))).toMatchObject({ code: 'EBADF', syscall: 'fcntl' })
  })

  test('answer ioctl, whose buffer may be shorter than what the kernel writes', () => {
    const descriptor = socket(AF_UNIX, SOCK_DGRAM)
    const SIOCGIFNAME = 0x8910
    // struct ifreq: a name of 16 bytes, then the index.
    const ifreq = Buffer.alloc(40)
    ifreq.writeInt32LE(1, 16)
    expect(native.ioctl(descriptor, SIOCGIFNAME, ifreq)).toBe(0)
    expect(ifreq.subarray(0, 3).toString()).toBe('lo\0')
    const FIONREAD = 0x541b
    for (let length = 0; length < 4; length++)
      expect(native.ioctl(descriptor, FIONREAD, new Uint8Array(length))).toBe(0)
    expect(refusal(() => native.ioctl(descriptor, 0xdead, ifreq)).syscall).toBe('ioctl')
  })
})
