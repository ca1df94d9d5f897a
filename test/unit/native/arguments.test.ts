import { readFileSync } from 'node:fs'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { Binding } from '../../../native/binding.ts'
import { AF_UNIX, closing, expecting, native, refusal, SOCK_DGRAM, socket } from './support.ts'

const O_CLOEXEC = 0o2000000

type Call = (...args: unknown[]) => unknown
const functions = native as unknown as Record<keyof Binding, Call>

/** Calls that would be right, each argument with what must be refused in its place. */
const cases = () => {
  const descriptor = socket(AF_UNIX, SOCK_DGRAM)
  const foreign = [undefined, null, 3, 'x', {}, { fd: 3, close() {} }, Object.create(descriptor), () => {}]
  const notInt = [
    undefined,
    null,
    '1',
    1.5,
    Number.NaN,
    Number.POSITIVE_INFINITY,
    2 ** 31,
    -(2 ** 31) - 1,
    1n,
  ]
  const notBytes = [
    undefined,
    null,
    'bytes',
    [1, 2],
    new ArrayBuffer(4),
    new Uint16Array(2),
    new DataView(new ArrayBuffer(4)),
    {},
  ]
  const notPath = [undefined, null, '', 'a\0b', 7, {}, Buffer.from('/tmp'), Symbol('path')]
  const bytes = new Uint8Array(16)
  const notU32 = [-2, 2 ** 32, 1.5, '1', undefined, null]
  const options = expecting(1)
  const badOptions = [
    undefined,
    null,
    7,
    {},
    ...notU32.map((firstSeq) => ({ ...options, firstSeq })),
    ...notU32.map((lastSeq) => ({ ...options, lastSeq })),
    ...notU32.map((expected) => ({ ...options, expected })),
    ...notU32.map((abortSeq) => ({ ...options, abortSeq })),
    ...[-1, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 31, '1', undefined].map((timeout) => ({
      ...options,
      timeout,
    })),
  ]
  const transact = { args: [descriptor, bytes, options], bad: [foreign, notBytes, badOptions] }
  const flock = { args: [descriptor, 2], bad: [foreign, [...notInt, 0, 3, 4, 6]] }
  const table: Partial<Record<keyof Binding, { args: unknown[]; bad: unknown[][] }>> = {
    sysctls: {
      args: [null, [{ path: '/proc/sys/net/core/somaxconn' }]],
      bad: [
        foreign.filter((value) => value !== null),
        [
          undefined,
          null,
          {},
          'sysctls',
          new Array(1),
          [undefined],
          [null],
          [7],
          [{}],
          [{ path: 7 }],
          [{ path: '' }],
          [{ path: 'a\0b' }],
          [{ path: '/proc/sys/net/core/somaxconn', value: 7 }],
          [{ path: '/proc/sys/net/core/somaxconn', value: null }],
        ],
      ],
    },
    openInNetns: {
      args: [null, [{ path: '/dev/null', flags: 0 }]],
      bad: [
        foreign.filter((value) => value !== null),
        [
          undefined,
          null,
          {},
          'specs',
          new Array(1),
          [undefined],
          [null],
          [7],
          [{}],
          [{ domain: 1, type: 1 }],
          [{ domain: 1, type: '1', protocol: 0 }],
          [{ path: '/dev/null' }],
          [{ path: 7, flags: 0 }],
          [{ path: '/dev/null\0', flags: 0 }],
          new Array(2 ** 32 - 1),
        ],
      ],
    },
    openNetlink: { args: [null, 0], bad: [foreign.filter((value) => value !== null), notInt] },
    identifyNetns: { args: [null], bad: [foreign.filter((value) => value !== null)] },
    createNamedNetns: { args: ['/x/y'], bad: [notPath] },
    deleteNamedNetns: { args: ['/x/y'], bad: [notPath] },
    open: { args: ['/dev/null', 0, 0], bad: [notPath, notInt, [...notInt, -1, 0o10000]] },
    adopt: { args: [0], bad: [[...notInt, -1]] },
    closeApart: { args: [descriptor], bad: [foreign] },
    countLinks: { args: [descriptor], bad: [foreign] },
    transact,
    transactSync: transact,
    watch: {
      args: [descriptor, 1, () => {}],
      bad: [foreign, [...notInt, -1, 0x10000], [undefined, null, {}, 'f']],
    },
    bind: { args: [descriptor, bytes], bad: [foreign, [...notBytes, new Uint8Array(129)]] },
    connect: { args: [descriptor, bytes], bad: [foreign, [...notBytes, new Uint8Array(129)]] },
    listen: { args: [descriptor, 1], bad: [foreign, notInt] },
    accept: { args: [descriptor], bad: [foreign] },
    acceptAnswering: {
      args: [descriptor, bytes, bytes, 0, 1, () => {}],
      bad: [
        foreign,
        [...notBytes, new Uint8Array(0), new Uint8Array(65)],
        [...notBytes, new Uint8Array(0), new Uint8Array(65)],
        [undefined, null, '1', 1.5, -1, 2 ** 32, 1n],
        [...notInt, -1, 0, 257],
        [undefined, null, {}, 'f'],
      ],
    },
    shutdown: { args: [descriptor, 0], bad: [foreign, notInt] },
    exit: { args: [0], bad: [[...notInt, -1, 256]] },
    getsockname: { args: [descriptor], bad: [foreign] },
    send: {
      args: [descriptor, bytes, null, []],
      bad: [
        foreign,
        notBytes,
        [...notBytes.slice(2), new Uint8Array(129)],
        ['x', {}, [undefined], [null], [{}], [descriptor, 3], new Array(254).fill(descriptor)],
      ],
    },
    receive: { args: [descriptor, 16], bad: [foreign, [...notInt, 0, -1, 2 ** 20 + 1]] },
    setsockopt: { args: [descriptor, 1, 2, bytes], bad: [foreign, notInt, notInt, notBytes] },
    getsockopt: { args: [descriptor, 1, 2, 4], bad: [foreign, notInt, notInt, [...notInt, -1, 65537]] },
    attachFilter: {
      args: [descriptor, new Uint8Array(8)],
      bad: [foreign, [...notBytes, new Uint8Array(0), new Uint8Array(12), new Uint8Array(8 * 4097)]],
    },
    ioctl: { args: [descriptor, 0, bytes], bad: [foreign, [...notInt.slice(0, -3), -1, 2 ** 32], notBytes] },
    ioctlLabelled: {
      args: [descriptor, 0, bytes, 'label'],
      bad: [foreign, [...notInt.slice(0, -3), -1, 2 ** 32], notBytes, [undefined, null, 7, {}]],
    },
    tryFlock: flock,
    flock,
  }
  return table
}

describe('arguments', () => {
  test('every function that takes any is in the table', () => {
    const withoutAny = ['createNetns', 'releaseExecutable', 'trimHeap']
    expect([...Object.keys(cases()), ...withoutAny].sort()).toEqual(Object.keys(native).sort())
  })

  test('a wrong one is a TypeError that names the function, whatever the others are', () => {
    for (const [name, { args, bad }] of Object.entries(cases()))
      for (const [position, values] of bad.entries())
        for (const value of values) {
          const call = () => functions[name as keyof Binding](...args.with(position, value))
          const label = `${name}, argument ${position}: ${typeof value}`
          expect(call, label).toThrow(TypeError)
          expect(call, label).toThrow(new RegExp(`^${name}: .* must be `))
        }
  })

  test('missing ones are TypeErrors', () => {
    for (const [name, { args }] of Object.entries(cases()))
      for (let count = 0; count < (name === 'send' ? 2 : args.length); count++)
        expect(() => functions[name as keyof Binding](...args.slice(0, count)), name).toThrow(TypeError)
  })

  test('nothing at all that a program could pass by mistake is worse than an exception', () => {
    const table = cases()
    const names = Object.keys(table) as (keyof Binding)[]
    // No descriptors and no paths: what goes through has no effect.
    const junk = fc.oneof(
      fc.constantFrom<unknown>(undefined, null, true, {}, [], () => {}, Symbol('x'), new Proxy({}, {})),
      fc.double(),
      fc.bigInt(),
      fc.uint8Array(),
      fc.float32Array(),
      fc.dictionary(fc.string(), fc.anything()),
    )
    fc.assert(
      fc.property(fc.constantFrom(...names), fc.array(junk, { maxLength: 5 }), (name, args) => {
        const nothing = /^(openInNetns|sysctls)$/.test(name) && Array.isArray(args[0]) && args[0].length === 0
        const right = name === 'identifyNetns' || (name === 'openNetlink' && Number.isInteger(args[0]))
        if (!nothing && !right) expect(refusal(() => functions[name](null, ...args))).toBeInstanceOf(Error)
      }),
      { numRuns: 2000 },
    )
  })

  test('what a getter throws is what the caller sees', () => {
    const descriptor = socket(AF_UNIX, SOCK_DGRAM)
    const options = {
      get firstSeq(): number {
        throw new RangeError('from the getter')
      },
    }
    expect(() => functions.transactSync(descriptor, new Uint8Array(), options)).toThrow('from the getter')
    const specs = [{ path: '/dev/null', flags: 0 }, options]
    Object.defineProperty(specs, 1, {
      get() {
        throw new RangeError('from the element')
      },
    })
    expect(() => functions.openInNetns(null, specs)).toThrow('from the element')
  })

  test('a getter that closes the descriptor or detaches the buffer does no harm', () => {
    const descriptor = closing(native.open('/dev/null', 0, 0))
    const datagram = new Uint8Array(1 << 20)
    const options = {
      ...expecting(1),
      get timeout() {
        descriptor.close()
        structuredClone(datagram, { transfer: [datagram.buffer] })
        return 1
      },
    }
    expect(refusal(() => native.transactSync(descriptor, datagram, options)).code).toBe('EBADF')
    expect(datagram.length).toBe(0)
    const netns = closing(native.open('/proc/self/ns/net', 0, 0))
    const spec = {
      flags: 0,
      get path() {
        netns.close()
        return '/dev/null'
      },
    }
    expect(refusal(() => native.openInNetns(netns, [spec]))).toMatchObject({
      code: 'EBADF',
      syscall: 'setns',
    })
  })
})

describe('descriptors', () => {
  test('have a number until they are closed', () => {
    const descriptor = native.open('/dev/null', 0, 0)
    expect(descriptor.fd).toBeGreaterThan(2)
    descriptor.close()
    expect(descriptor.fd).toBe(-1)
    descriptor.close()
  })

  test('once closed, are EBADF for every function', () => {
    const closed = native.open('/dev/null', 0, 0)
    closed.close()
    const bytes = new Uint8Array(16)
    const calls: (() => unknown)[] = [
      () => native.transactSync(closed, bytes, expecting(1)),
      () => native.watch(closed, 1, () => {}),
      () => native.bind(closed, bytes),
      () => native.connect(closed, bytes),
      () => native.listen(closed, 1),
      () => native.accept(closed),
      () => native.acceptAnswering(closed, bytes, bytes, 0, 1, () => {}),
      () => native.shutdown(closed, 0),
      () => native.getsockname(closed),
      () => native.send(closed, bytes),
      () => native.receive(closed, 1),
      () => native.setsockopt(closed, 1, 2, bytes),
      () => native.getsockopt(closed, 1, 2, 4),
      () => native.attachFilter(closed, bytes),
      () => native.ioctl(closed, 0, bytes),
      () => native.openNetlink(closed, 0),
      () => native.countLinks(closed),
      () => native.identifyNetns(closed),
      () => native.tryFlock(closed, 2),
    ]
    for (const call of calls) expect(refusal(call).code, String(call)).toBe('EBADF')
  })

  test('once closed, reject promises with EBADF', async () => {
    const closed = native.open('/dev/null', 0, 0)
    closed.close()
    await expect(native.flock(closed, 2)).rejects.toMatchObject({ code: 'EBADF', syscall: 'flock' })
    await expect(native.transact(closed, new Uint8Array(16), expecting(1))).rejects.toMatchObject({
      code: 'EBADF',
    })
  })

  test('can not be forged', () => {
    const descriptor = closing(native.open('/dev/null', 0, 0))
    const prototype = Object.getPrototypeOf(descriptor)
    const get = Object.getOwnPropertyDescriptor(prototype, 'fd')!.get!
    for (const other of [{}, Object.create(descriptor), new Map(), null, undefined, 7]) {
      expect(() => get.call(other)).toThrow(TypeError)
      expect(() => prototype.close.call(other)).toThrow(TypeError)
    }
    const empty = new prototype.constructor(descriptor.fd)
    expect(() => empty.fd).toThrow(TypeError)
    expect(() => empty.close()).toThrow(TypeError)
    expect(() => native.accept(empty)).toThrow(TypeError)
    expect(() => native.accept(Object.setPrototypeOf({}, prototype))).toThrow(TypeError)
    const watch = native.watch(socket(AF_UNIX, SOCK_DGRAM), 1, () => {})
    expect(() => native.accept(watch as never)).toThrow(TypeError)
    expect(() => watch.close.call(descriptor)).toThrow(TypeError)
    watch.close()
  })

  test('are closed on exec', () => {
    for (const { fd } of [closing(native.open('/dev/null', 0, 0)), socket(AF_UNIX, SOCK_DGRAM)]) {
      const [, flags] = /^flags:\s+(\d+)$/m.exec(readFileSync(`/proc/self/fdinfo/${fd}`, 'utf8'))!
      expect(Number.parseInt(flags!, 8) & O_CLOEXEC).toBe(O_CLOEXEC)
    }
  })
})
