import fc from 'fast-check'
import { expect, it } from 'vitest'
import { formatMac, parseMac, sameMac } from '../../../netlink/index.ts'

it.each([
  // net.ParseMAC(text).String()
  ['00:00:5e:00:53:01', '00:00:5e:00:53:01'],
  ['00-00-5E-00-53-01', '00:00:5e:00:53:01'],
  ['0000.5e00.5301', '00:00:5e:00:53:01'],
  ['02:00:5e:10:00:00:00:01', '02:00:5e:10:00:00:00:01'],
  ['0200.5e10.0000.0001', '02:00:5e:10:00:00:00:01'],
  [
    '00:00:00:00:fe:80:00:00:00:00:00:00:02:00:5e:10:00:00:00:01',
    '00:00:00:00:fe:80:00:00:00:00:00:00:02:00:5e:10:00:00:00:01',
  ],
])('%s is %s', (input, expected) => {
  const parsed = parseMac(input)
  expect(parsed && formatMac(parsed)).toBe(expected)
})

it.each([
  '',
  '00:00:5e:00:53',
  '00:00:5e:00:53:01:',
  ':00:00:5e:00:53:01',
  '00:00:5e:00:53:1',
  '0:0:5e:0:53:1',
  '00:00:5e-00-53-01',
  '00:00:5e:00:53:0g',
  '00:00:5e:00:53:01 ',
  '00005e005301',
  '0000.5e00.53011',
  '0000:5e00:5301',
  '00.00.5e.00.53.01',
  '00:00:5e:00:53:01:02',
])('%j is none', (input) => {
  expect(parseMac(input)).toBeNull()
})

it('prints and reads any address', () => {
  const bytes = fc.constantFrom(6, 8, 20).chain((n) => fc.uint8Array({ minLength: n, maxLength: n }))
  fc.assert(fc.property(bytes, (mac) => void expect(parseMac(formatMac(mac))).toEqual(mac)))
  fc.assert(fc.property(fc.string(), (input) => void parseMac(input)))
  expect(formatMac(new Uint8Array())).toBe('')
})

it('compares by bytes', () => {
  expect(sameMac('00-00-5E-00-53-01', '0000.5e00.5301')).toBe(true)
  expect(sameMac('00-00-5E-00-53-01', '00:00:5e:00:53:02')).toBe(false)
  expect(sameMac('', '')).toBe(false)
})
