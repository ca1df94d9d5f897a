import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { MalformedError } from '../../../netlink/codec/reader.ts'
import { errnoName } from '../../../netlink/error.ts'
import { decode, encode } from '../../../netlink/exchange.ts'
import { address, isErrno, link, NetlinkError, type Request } from '../../../netlink/index.ts'

const hex = (text: string) => new Uint8Array(Buffer.from(text.replaceAll(/\s/g, ''), 'hex'))
const u32 = (value: number) => {
  const bytes = Buffer.alloc(4)
  bytes.writeInt32LE(value | 0)
  return bytes.toString('hex')
}
const message = (type: string, flags: string, seq: number, payload: string) => {
  const body = payload.replaceAll(/\s/g, '')
  return u32(16 + body.length / 2) + type + flags + u32(seq) + u32(0) + body
}
/** `struct nlmsgerr` of a capped answer: errno and the request's header. */
const nlmsgerr = (errno: number) => u32(-errno) + '20000000 1000 0506 07000000 00000000'.replaceAll(' ', '')

const down = link.set(5, { up: false })
const list = address.list()

describe('what is sent', () => {
  it('is one aligned message after the other, numbered', () => {
    const bytes = Buffer.from(encode([down, link.set(6, { alias: 'abc' })], 41)).toString('hex')
    expect(bytes).toBe(
      // RTM_NEWLINK, REQUEST | ACK, 41; ifinfomsg of 5, flags 0 of mask 1
      '20000000 1000 0500 29000000 00000000 00 00 0000 05000000 00000000 01000000'.replaceAll(' ', '') +
        // and IFLA_IFALIAS
        '28000000 1000 0500 2a000000 00000000 00 00 0000 06000000 00000000 00000000 08001400 61626300'.replaceAll(
          ' ',
          '',
        ),
    )
  })

  it('asks for an acknowledgement, except of a dump', () => {
    const flags = (request: Request<unknown>) => Buffer.from(encode([request], 1)).readUInt16LE(6)
    expect(flags(down)).toBe(0x5)
    expect(flags(list)).toBe(0x301)
    expect(flags(link.add({ name: 'x', kind: 'dummy' }))).toBe(0x605)
  })
})

describe('what is received', () => {
  it('goes to the request of its sequence number; strays are passed over', () => {
    const second = link.set(6, { up: true })
    const received = hex(
      message('0200', '0000', 99, nlmsgerr(1)) +
        message('0200', '0001', 8, nlmsgerr(19)) +
        message('0200', '0001', 7, nlmsgerr(0)),
    )
    const { outcomes } = decode([down, second], 7, received)
    expect(outcomes[0]).toEqual({ ok: true, value: undefined })
    expect(outcomes[1]).toMatchObject({
      ok: false,
      error: { op: 'set link 6 (up)', code: 'ENODEV', errno: 19 },
    })
  })

  it('takes the kernel’s words and the attribute it minds from behind the error', () => {
    const request = link.add({ name: 'mv0', kind: 'macvlan', link: 3, data: { mode: 'bridge' } })
    // 16 + 16 bytes of headers, IFLA_IFNAME 8, IFLA_LINK 8, IFLA_LINKINFO 4, IFLA_INFO_KIND 12, IFLA_INFO_DATA 4
    const offset = 16 + 16 + 8 + 8 + 4 + 12 + 4
    const received = hex(
      message('0200', '0003', 1, `${nlmsgerr(22)} 0800 0100 6e6f2100 0800 0200 ${u32(offset)}`),
    )
    const { outcomes } = decode([request], 1, received)
    const error = outcomes[0]!.ok ? undefined : outcomes[0]!.error
    expect(error).toBeInstanceOf(NetlinkError)
    expect(error).toMatchObject({
      code: 'EINVAL',
      kernelMessage: 'no!',
      attribute: 'linkinfo.data.mode',
      message: 'add link mv0 (macvlan): EINVAL (no!, attribute linkinfo.data.mode)',
    })
    expect(isErrno(error, 'EEXIST', 'EINVAL')).toBe(true)
    expect(isErrno(error, 'EEXIST')).toBe(false)
  })

  it('takes them, too, where the whole request is repeated before them', () => {
    const whole = Buffer.from(encode([down], 1)).toString('hex')
    const received = hex(message('0200', '0002', 1, `${u32(-22)} ${whole} 0800 0100 6e6f2100`))
    expect(decode([down], 1, received).outcomes[0]).toMatchObject({ error: { kernelMessage: 'no!' } })
  })

  it('takes them from the end of a dump that failed', () => {
    const received = hex(
      message('1400', '0200', 1, '02180080 01000000') +
        message('0300', '0202', 1, `${u32(-22)} 0e00 0100 62616420 696e646578 00 0000`),
    )
    expect(decode([list], 1, received).outcomes[0]).toMatchObject({
      ok: false,
      error: { code: 'EINVAL', kernelMessage: 'bad index' },
    })
  })

  it('says when a dump was interrupted', () => {
    const done = message('0300', '0200', 1, u32(0))
    expect(decode([list], 1, hex(done))).toMatchObject({ interrupted: false, outcomes: [{ value: [] }] })
    expect(decode([list], 1, hex(message('0300', '1200', 1, u32(0))))).toMatchObject({ interrupted: true })
  })

  it('never takes silence for success', () => {
    expect(() => decode([down], 1, new Uint8Array())).toThrow(MalformedError)
    expect(() => decode([list], 1, hex(message('1400', '0200', 1, '02180080 01000000')))).toThrow(
      MalformedError,
    )
  })

  it('of a request for an object, has one', () => {
    const acknowledged = hex(message('0200', '0001', 1, nlmsgerr(0)))
    expect(() => decode([link.get(5)], 1, acknowledged)).toThrow(/get link 5: .* sent no object/)
  })

  it('may be any bytes: an outcome or a MalformedError', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        try {
          decode([down, link.get(5), list], 0, bytes)
        } catch (error) {
          if (!(error instanceof MalformedError) && !/sent no object/.test((error as Error).message))
            throw error
        }
      }),
      { numRuns: 2000 },
    )
  })
})

it('errors have Linux’s names', () => {
  expect([1, 2, 11, 16, 17, 19, 22, 95, 99, 101, 524].map(errnoName)).toEqual([
    'EPERM',
    'ENOENT',
    'EAGAIN',
    'EBUSY',
    'EEXIST',
    'ENODEV',
    'EINVAL',
    'EOPNOTSUPP',
    'EADDRNOTAVAIL',
    'ENETUNREACH',
    'E524',
  ])
})
