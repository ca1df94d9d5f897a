import fc from 'fast-check'
import { describe, expect, it, test } from 'vitest'
import { encode, type Message, parse } from '../../../../ipam/dhcp/v4/message.ts'
import { read } from '../../../../ipam/dhcp/v4/options.ts'
import { ascii, damaged, hex, message, within } from './wire.ts'

/** The fixed part of a request from 02:00:5e:00:53:01, RFC 2131 figure 1, up to the cookie. */
const fixed = (sname = '', file = ''): string =>
  [
    '01 01 06 00', // op htype hlen hops
    '3903f326', // xid
    '0005 8000', // secs flags
    'c0000201 c0000202 c0000203 c0000204', // ciaddr yiaddr siaddr giaddr
    '02005e005301 00000000000000000000', // chaddr
    sname.replace(/ /g, '').padEnd(128, '0'),
    file.replace(/ /g, '').padEnd(256, '0'),
    '63825363',
  ].join('')

const request: Message = {
  op: 'BOOTREQUEST',
  htype: 1,
  hops: 0,
  xid: 0x3903f326,
  secs: 5,
  broadcast: true,
  ciaddr: '192.0.2.1',
  yiaddr: '192.0.2.2',
  siaddr: '192.0.2.3',
  giaddr: '192.0.2.4',
  chaddr: hex('02005e005301'),
  options: new Map([
    [53, Uint8Array.of(1)],
    [55, Uint8Array.of(1, 3, 6)],
    [12, ascii('pod')],
  ]),
}

/** What the options of a message are, by their bytes after the cookie. */
const options = (bytes: string, sname?: string, file?: string) =>
  Object.fromEntries(
    [...parse(hex(fixed(sname, file) + bytes))!.options].map(([code, value]) => [code, [...value]]),
  )

describe('a message', () => {
  const bytes = hex(`${fixed()} 350101 3703010306 0c03706f64 ff`.replace(/ /g, '').padEnd(600, '0'))

  test('is written', () => {
    expect(encode(request)).toEqual(bytes)
  })

  test('is read', () => {
    expect(parse(bytes)).toEqual(request)
    expect(parse(within(bytes, 0))).toEqual(request)
  })

  test('has its type first, the rest in the order given', () => {
    const mixed = new Map([...request.options].reverse())
    const sent = encode({ ...request, options: mixed }).subarray(240)
    expect(sent.subarray(0, 14)).toEqual(hex('350101 0c03706f64 3703010306 ff'))
  })

  test('has 300 bytes at least, and more where the options need it', () => {
    const with_ = (length: number) =>
      encode({ ...request, options: new Map([[43, new Uint8Array(length)]]) }).length
    expect(with_(1)).toBe(300)
    expect(with_(57)).toBe(300)
    expect(with_(58)).toBe(301)
    expect(with_(255)).toBe(240 + 2 + 255 + 1)
    expect(with_(256)).toBe(240 + 4 + 256 + 1)
  })

  it.each([
    [1, 'BOOTREQUEST'],
    [2, 'BOOTREPLY'],
  ])('with op %d is a %s', (op, expected) => {
    const changed = bytes.slice()
    changed[0] = op
    expect(parse(changed)?.op).toBe(expected)
  })

  test('asks for broadcast by one flag of sixteen', () => {
    const changed = bytes.slice()
    changed.set([0x7f, 0xff], 10)
    expect(parse(changed)?.broadcast).toBe(false)
  })

  test('may have any hardware address up to 16 bytes', () => {
    for (const length of [0, 8, 16]) {
      const chaddr = new Uint8Array(length).fill(7)
      expect(parse(encode({ ...request, chaddr }))?.chaddr).toEqual(chaddr)
    }
  })

  test('keeps nothing of the buffer it was read from', () => {
    const buffer = bytes.slice()
    const parsed = parse(buffer)!
    buffer.fill(0xee)
    expect(parsed).toEqual(request)
  })

  it.each<[string, Partial<Message>]>([
    ['a chaddr of 17 bytes', { chaddr: new Uint8Array(17) }],
    ['an IPv6 address', { ciaddr: '2001:db8::1' }],
    ['no address', { yiaddr: '' }],
    ['padding as an option', { options: new Map([[0, new Uint8Array()]]) }],
    ['the end as an option', { options: new Map([[255, new Uint8Array()]]) }],
    ['a code of two bytes', { options: new Map([[256, new Uint8Array()]]) }],
    ['option overload', { options: new Map([[52, Uint8Array.of(1)]]) }],
  ])('is not written with %s', (_, wrong) => {
    expect(() => encode({ ...request, ...wrong })).toThrow(RangeError)
  })

  it.each<[string, (bytes: Uint8Array) => Uint8Array]>([
    ['nothing', () => new Uint8Array()],
    ['one without options', (all) => all.subarray(0, 236)],
    ['one cut in the cookie', (all) => all.subarray(0, 239)],
    ['one with another cookie', (all) => all.with(239, 0x64)],
    ['op 0', (all) => all.with(0, 0)],
    ['op 3', (all) => all.with(0, 3)],
    ['hlen 17', (all) => all.with(2, 17)],
    ['hlen 255', (all) => all.with(2, 255)],
  ])('is not read from %s', (_, change) => {
    expect(parse(change(bytes))).toBeNull()
  })
})

describe('options', () => {
  test('may be none at all', () => {
    expect(options('')).toEqual({})
    expect(options('ff')).toEqual({})
    expect(options('0000')).toEqual({})
  })

  test('have padding between them, and nothing after the end', () => {
    expect(options('00 350105 0000 330400000e10 ff 0104ffffff00'.replace(/ /g, ''))).toEqual({
      53: [5],
      51: [0, 0, 0x0e, 0x10],
    })
  })

  test('may be empty', () => {
    expect(options('5000350102')).toEqual({ 80: [], 53: [2] })
  })

  it.each([
    ['a code', '350105 0c'],
    ['a length of more than there is', '350105 0c04706f64'],
    ['a length without a value', '350105 0c01'],
  ])('that end with %s: those before it count', (_, bytes) => {
    expect(options(bytes.replace(/ /g, ''))).toEqual({ 53: [5] })
  })

  test('that come in parts are one value, RFC 3396 section 7', () => {
    expect(options('770161350105770162ff')).toEqual({ 119: [0x61, 0x62], 53: [5] })
  })

  test('of more than 255 bytes are sent in parts that follow each other', () => {
    const long = Uint8Array.from({ length: 600 }, (_, i) => i)
    const sent = encode({ ...request, options: new Map([[43, long]]) })
    expect(sent).toHaveLength(240 + 606 + 1)
    expect([240, 241, 497, 498, 754, 755].map((at) => sent[at])).toEqual([43, 255, 43, 255, 43, 90])
    expect(sent.at(-1)).toBe(255)
    expect(parse(sent)?.options.get(43)).toEqual(long)
  })
})

describe('option overload', () => {
  const [sname, file] = ['2b0173 0c0174 ff', '00 2b0166 ff 2b0178']

  it.each([
    ['neither', '00', [0x6f], {}],
    ['file', '01', [0x6f, 0x66], {}],
    ['sname', '02', [0x6f, 0x73], { 12: [0x74] }],
    ['file, then sname', '03', [0x6f, 0x66, 0x73], { 12: [0x74] }],
  ])('adds the options of %s', (_, overload, joined, others) => {
    expect(options(`3401${overload}2b016fff`, sname, file)).toEqual({ 43: joined, ...others })
  })

  test('counts only where it is among the options', () => {
    expect(options('340101 2b016f'.replace(/ /g, ''), '2b0173', '340102 2b0166')).toEqual({
      43: [0x6f, 0x66],
    })
  })

  test('ends each field with its own', () => {
    // The last option of file would reach into the cookie, the one of sname into file.
    const last = (length: number) => `${'00'.repeat(length - 2)}2b04`
    expect(options('3401032b016fff', last(64), last(128))).toEqual({ 43: [0x6f] })
  })

  test('fills a field to its last byte', () => {
    const parsed = options('340103', `2b3e${'11'.repeat(62)}`, `2b7e${'22'.repeat(126)}`)
    expect(parsed).toEqual({ 43: [...Array(126).fill(0x22), ...Array(62).fill(0x11)] })
  })

  test('is none where it has no value', () => {
    expect(options('34002b016f', '2b0173')).toEqual({ 43: [0x6f] })
  })
})

describe('any message', () => {
  test('comes back as it was', () => {
    fc.assert(fc.property(message(), (any) => void expect(parse(encode(any))).toEqual(any)))
    fc.assert(
      fc.property(message(1200, 3), (any) => void expect(parse(encode(any))).toEqual(any)),
      { numRuns: 30 },
    )
  })

  test('damaged in any way is read without an error, and without a look at the bytes around it', () => {
    fc.assert(
      fc.property(damaged(message().map(encode)), (bytes) => {
        expect(parse(within(bytes, 0))).toEqual(parse(within(bytes, 0xff)))
      }),
      { numRuns: 500 },
    )
  })

  test('is read again from what it was read as', () => {
    fc.assert(
      fc.property(damaged(message().map(encode)), (bytes) => {
        const once = parse(bytes)
        if (once) expect(parse(encode(once))).toEqual(once)
      }),
    )
  })

  test('as long as a packet and made of the shortest options is read at once', () => {
    const bytes = new Uint8Array(65_507)
    bytes.set(hex(fixed()))
    for (let at = 240; at + 3 <= bytes.length; at += 3) bytes.set([77, 1, at], at)
    const before = process.cpuUsage()
    const value = read(parse(bytes)!, 'userClass')
    expect(process.cpuUsage(before).user).toBeLessThan(1_000_000)
    expect(value).toHaveLength(Math.floor((65_507 - 240) / 3))
  })
})
