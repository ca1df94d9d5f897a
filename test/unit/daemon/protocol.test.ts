import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  Assembly,
  decodeAnswer,
  decodeGreeting,
  decodeRequest,
  decodeWelcome,
  type ExecuteRequest,
  encodeAnswer,
  encodeGreeting,
  encodeRequest,
  encodeWelcome,
  limits,
  NOT_NOW,
  ProtocolError,
} from '../../../daemon/protocol.ts'

const u32 = fc.integer({ min: 0, max: 0xffff_ffff })
const word = (value: number): Buffer => Buffer.from(Uint32Array.of(value).buffer)
const sized = (bytes: string | Uint8Array): Buffer =>
  Buffer.concat([word(Buffer.from(bytes).length), Buffer.from(bytes)])

const text = fc.string({ unit: 'grapheme', maxLength: 200 })
const name = fc.stringMatching(/^[A-Za-z_][A-Za-z0-9_]{0,30}$/)
const value = text.map((s) => s.replaceAll('\0', ''))
const execute: fc.Arbitrary<ExecuteRequest> = fc
  .record({
    kind: fc.constant('execute' as const),
    type: fc.stringMatching(/^[a-z0-9-]{1,32}$/),
    environment: fc.dictionary(name, value, { maxKeys: 10 }),
    stdin: text,
    hasOwnNetns: fc.boolean(),
    hasCniNetns: fc.boolean(),
    netnsErrno: fc.integer({ min: 0, max: 4095 }),
  })
  .map((request) => (request.hasCniNetns ? { ...request, netnsErrno: 0 } : request))

/** The same bytes in pieces. */
const pieces = (bytes: Uint8Array, cuts: readonly number[]): Uint8Array[] => {
  const at = [...new Set(cuts.map((cut) => cut % (bytes.length + 1)))].sort((a, b) => a - b)
  return [0, ...at].map((from, i) => bytes.subarray(from, at[i] ?? bytes.length))
}

const bodyOf = (framed: Uint8Array): Uint8Array => framed.subarray(4)

describe('greetings', () => {
  test('agree on the version that both speak', () => {
    fc.assert(
      fc.property(u32, u32, (lowest, highest) => {
        const expected = lowest <= 1 && 1 <= highest ? 1 : 0
        expect(decodeGreeting(encodeGreeting(lowest, highest))).toBe(expected)
      }),
    )
    expect(decodeGreeting(encodeGreeting())).toBe(1)
  })

  test('are 16 bytes, as written down', () => {
    expect(encodeGreeting(1, 3)).toEqual(Buffer.concat([Buffer.from('LNKWRGHT'), word(1), word(3)]))
    expect(encodeWelcome(1, NOT_NOW)).toEqual(Buffer.concat([Buffer.from('LNKWRGHT'), word(1), word(1)]))
    expect(decodeWelcome(encodeWelcome(1, NOT_NOW))).toEqual({ version: 1, flags: 1 })
  })

  test.each(['', 'LNKWRGHT', 'lnkwrght01234567', 'GET / HTTP/1.1\r\n', 'LNKWRGHT012345678'])(
    'not %j',
    (said) => {
      expect(() => decodeGreeting(Buffer.from(said))).toThrow(ProtocolError)
      expect(() => decodeWelcome(Buffer.from(said))).toThrow(ProtocolError)
    },
  )
})

describe('requests', () => {
  test('come out as they went in, however they are cut', () => {
    fc.assert(
      fc.property(execute, fc.array(fc.nat(), { maxLength: 8 }), (request, cuts) => {
        const assembly = new Assembly()
        const bodies = pieces(encodeRequest(request), cuts).map((piece) => {
          assembly.push(new Uint8Array(piece))
          return assembly.frame()
        })
        const found = bodies.filter((body) => body !== null)
        expect(found).toHaveLength(1)
        const decoded = decodeRequest(found[0]!)
        expect({ ...decoded, environment: { ...(decoded as ExecuteRequest).environment } }).toEqual(request)
        expect(assembly.length).toBe(0)
      }),
    )
    expect(decodeRequest(bodyOf(encodeRequest({ kind: 'status' })))).toEqual({ kind: 'status' })
  })

  test('any bytes are a request or a ProtocolError', () => {
    const whole = fc.uint8Array({ maxLength: 200 })
    const nearly = fc
      .tuple(execute, fc.array(fc.tuple(fc.nat(), fc.nat(255)), { maxLength: 4 }), fc.nat())
      .map(([request, changes, cut]) => {
        const bytes = new Uint8Array(bodyOf(encodeRequest(request)))
        for (const [at, byte] of changes) bytes[at % bytes.length] = byte
        return bytes.subarray(0, cut % 4 === 0 ? cut % bytes.length : bytes.length)
      })
    fc.assert(
      fc.property(fc.oneof(whole, nearly), (bytes) => {
        try {
          const { kind } = decodeRequest(bytes)
          expect(['execute', 'status']).toContain(kind)
        } catch (error) {
          expect(error).toBeInstanceOf(ProtocolError)
        }
      }),
      { numRuns: 2000 },
    )
  })

  /** An EXECUTE with one part replaced. */
  const made = (
    parts: Partial<Record<'kind' | 'type' | 'env' | 'stdin' | 'which' | 'errno', Buffer>>,
  ): Buffer =>
    Buffer.concat([
      parts.kind ?? word(1),
      parts.type ?? sized('bridge'),
      parts.env ?? sized('A=1\0'),
      parts.stdin ?? sized('{}'),
      parts.which ?? word(1),
      parts.errno ?? word(0),
    ])

  test('as written down', () => {
    expect(decodeRequest(made({}))).toMatchObject({
      kind: 'execute',
      type: 'bridge',
      stdin: '{}',
      netnsErrno: 0,
    })
    expect(decodeRequest(made({ which: word(3) }))).toMatchObject({ hasOwnNetns: true, hasCniNetns: true })
    expect(decodeRequest(made({ errno: word(2) }))).toMatchObject({ hasCniNetns: false, netnsErrno: 2 })
  })

  test.each([
    ['a kind that nobody knows', { kind: word(3) }, /no request of kind 3/],
    ['a type that is none', { type: sized('../bridge') }, /is no type of a plugin/],
    ['an empty type', { type: sized('') }, /is no type of a plugin/],
    ['a type that is too long', { type: sized('a'.repeat(33)) }, /more than 32/],
    ['an environment without an end', { env: sized('A=1') }, /does not end with a zero/],
    [
      'an environment that is too long',
      { env: sized(Buffer.alloc(limits.environment + 1)) },
      /environment has/,
    ],
    [
      'standard input that is too long',
      { stdin: sized(Buffer.alloc(limits.stdin + 1)) },
      /standard input has/,
    ],
    ['a length beyond the end', { stdin: word(5000) }, /ends within standard input/],
    ['a third descriptor', { which: word(4) }, /descriptor that nobody knows/],
    ['an errno that is none', { errno: word(4096) }, /4096 is no errno/],
    ['a namespace that is open and is not', { which: word(2), errno: word(2) }, /could not be opened/],
    ['more after the end', { errno: Buffer.concat([word(0), word(0)]) }, /goes on after its end/],
  ])('%s is refused', (_, parts, message) => {
    expect(() => decodeRequest(made(parts))).toThrow(message)
  })

  test('STATUS has nothing after it', () => {
    expect(() => decodeRequest(Buffer.concat([word(2), word(0)]))).toThrow(/goes on after its end/)
  })

  test('the largest that is allowed is', () => {
    const body = made({
      type: sized('a'.repeat(limits.type)),
      env: sized(Buffer.alloc(limits.environment)),
      stdin: sized(Buffer.alloc(limits.stdin)),
    })
    const assembly = new Assembly()
    assembly.push(new Uint8Array(Buffer.concat([word(body.length), body])))
    expect(decodeRequest(assembly.frame()!)).toMatchObject({ kind: 'execute' })
  })

  test('a length that is too long is refused before anything else has come', () => {
    const assembly = new Assembly()
    assembly.push(new Uint8Array(word(0xffff_ffff)))
    expect(() => assembly.frame()).toThrow(/4294967295 bytes/)
  })

  test('of two variables of a name the first counts, and nothing is inherited', () => {
    const request = decodeRequest(made({ env: sized('A=1\0A=2\0=x\0odd\0B=\0__proto__=p\0') }))
    const { environment } = request as ExecuteRequest
    expect(Object.entries(environment)).toEqual([
      ['A', '1'],
      ['B', ''],
      ['__proto__', 'p'],
    ])
    expect(environment.toString).toBeUndefined()
  })
})

describe('answers', () => {
  test('come out as they went in', () => {
    const answer = fc.record({ status: u32, acknowledge: fc.boolean(), stdout: text, stderr: text })
    fc.assert(
      fc.property(answer, (one) => {
        expect(decodeAnswer(bodyOf(encodeAnswer(one)))).toEqual(one)
      }),
    )
  })

  test('as written down', () => {
    expect(encodeAnswer({ status: 1, acknowledge: true, stdout: 'out', stderr: '' })).toEqual(
      Buffer.concat([word(19), word(1), word(1), sized('out'), sized('')]),
    )
  })
})
