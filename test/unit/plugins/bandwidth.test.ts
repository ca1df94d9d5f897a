import { describe, expect, test } from 'vitest'
import { parseConf } from '../../../cni/schema.ts'
import { bandwidthConf, type Limits, limitsOf } from '../../../plugins/bandwidth/conf.ts'
import { ifbNames } from '../../../plugins/bandwidth/ifb.ts'
import { differenceOf, ingressShape, tbfOf } from '../../../plugins/bandwidth/shape.ts'

const read = (keys: Readonly<Record<string, unknown>>): Limits | null =>
  limitsOf(parseConf(bandwidthConf, { name: 'net', ...keys }, 'bandwidth'))

const both = { ingressRate: 8000, ingressBurst: 80_000, egressRate: 16_000, egressBurst: 160_000 }

describe('what counts', () => {
  test('the keys of the configuration, in any case', () => {
    expect(
      read({ IngressRate: 8000, ingressburst: 80_000, EGRESSRATE: 16_000, egressBurst: 160_000 }),
    ).toEqual({
      ingress: { rate: 1000n, burst: 10_000 },
      egress: { rate: 2000n, burst: 20_000 },
      subnets: null,
    })
  })

  test('those of the runtime where there is no rate among them', () => {
    const { ingressRate, ingressBurst } = both
    const runtimeConfig = { bandwidth: { ingressRate, ingressBurst } }
    expect(read({ runtimeConfig })).toMatchObject({ ingress: { rate: 1000n }, egress: null })
    // Go's own tests write it so.
    expect(read({ RuntimeConfig: { bandWidth: { ingressRate, ingressBurst } } })).toMatchObject({
      egress: null,
    })
    expect(read({ runtimeConfig, egressRate: 8, egressBurst: 8 })).toMatchObject({
      ingress: null,
      egress: { burst: 1 },
    })
    expect(read({ runtimeConfig, egressRate: 0 })).toBeNull()
    expect(read({ runtimeConfig, egressRate: null })).toMatchObject({ ingress: { burst: 10_000 } })
  })

  test("subnets of the configuration are for the runtime's rates, too", () => {
    const runtimeConfig = { bandwidth: both }
    expect(read({ runtimeConfig, shapedSubnets: ['10.0.0.0/8'] })?.subnets).toEqual({
      shaped: true,
      list: ['10.0.0.0/8'],
    })
    const own = { bandwidth: { ...both, unshapedSubnets: ['::/0'] } }
    expect(read({ runtimeConfig: own, shapedSubnets: ['10.0.0.0/8'] })?.subnets).toEqual({
      shaped: false,
      list: ['::/0'],
    })
    expect(read({ ...both, shapedSubnets: [], unshapedSubnets: [] })?.subnets).toBeNull()
    expect(read({ ...both, runtimeConfig: own })?.subnets).toBeNull()
  })

  test.each([
    {},
    { runtimeConfig: {} },
    { runtimeConfig: { bandwidth: {} } },
    { shapedSubnets: ['nowhere'] },
  ])('nothing of %j', (keys) => expect(read(keys)).toBeNull())
})

test.each([
  [{ ingressRate: 1 }, 'if rate is set, burst must also be set'],
  [{ egressRate: 1 }, 'if rate is set, burst must also be set'],
  [{ ingressBurst: 1 }, 'if burst is set, rate must also be set'],
  [{ egressBurst: 1 }, 'if burst is set, rate must also be set'],
  [{ egressRate: 1, egressBurst: 34_359_738_360 }, 'burst cannot be more than 4GB'],
  [{ ingressRate: 7, ingressBurst: 800 }, 'ingressRate and ingressBurst must be at least 8'],
  [{ ingressRate: 800, ingressBurst: 7 }, 'ingressRate and ingressBurst must be at least 8'],
  [
    { ...both, shapedSubnets: ['10.0.0.0/33'] },
    'bad subnet "10.0.0.0/33" provided, details invalid CIDR address',
  ],
  [{ ...both, unshapedSubnets: ['10.0.0.0'] }, 'bad subnet "10.0.0.0" provided'],
  [{ ...both, unshapedSubnets: ['::ffff:10.0.0.0/104'] }, 'bad subnet'],
  [{ ...both, unshapedSubnets: ['::/0'], shapedSubnets: ['::/0'] }, 'cannot be both specified'],
  [{ ingressRate: 1.5, ingressBurst: 8 }, 'integer from 0 to 18446744073709551615'],
  [{ ingressRate: -8, ingressBurst: 8 }, 'integer from 0 to'],
  [{ ingressRate: 2 ** 65, ingressBurst: 8 }, 'integer from 0 to'],
  [{ runtimeConfig: { bandwidth: 7 } }, 'runtimeConfig.bandwidth: expected object'],
])('%j is refused', (keys, message) => {
  expect(() => read(keys)).toThrow(message)
})

test.each([
  // Rate and burst in bytes, and what the Go plugin makes of them.
  [2_000_000n, 100_000, { limit: 150_000, buffer: 781_250 }],
  [15n, 57, { limit: 57, buffer: 59_375_000 }],
  [6_000_000_000n, 4_294_967_293, { limit: 4_294_967_295, buffer: 11_184_796 }],
  // 343 seconds: more than the kernel can count.
  [12_500_000n, 4_294_967_293, { limit: 4_294_967_295, buffer: 0xffff_ffff }],
  [3_000_000n, 1_000_001, { limit: 1_075_001, buffer: 5_208_328 }],
])('a bucket of %s and %s', (rate, burst, want) => {
  expect(tbfOf({ rate, burst })).toEqual({ rate, ...want })
})

test('the largest rate', () => {
  const limits = read({ ingressRate: 2 ** 64, ingressBurst: 8 })
  expect(limits?.ingress?.rate).toBe(2n ** 61n)
})

describe('the IFB', () => {
  test("has the Go plugin's name, and one of its own", () => {
    const { shared, own } = ifbNames('net', { containerId: 'cid-1', ifName: 'eth0' })
    expect(shared).toBe('bwpc56677a01e3b')
    expect(own).toMatch(/^bwp[0-9a-f]{12}$/)
    expect(own).not.toBe(shared)
  })

  test('another interface has another', () => {
    const of = (ifName: string) => ifbNames('net', { containerId: 'cid-1', ifName })
    expect(of('net1').shared).toBe(of('eth0').shared)
    expect(of('net1').own).not.toBe(of('eth0').own)
    // Go's takes these two for one.
    expect(ifbNames('a', { containerId: 'bc', ifName: 'x' }).shared).toBe(
      ifbNames('ab', { containerId: 'c', ifName: 'x' }).shared,
    )
    expect(ifbNames('a', { containerId: 'bc', ifName: 'x' }).own).not.toBe(
      ifbNames('ab', { containerId: 'c', ifName: 'x' }).own,
    )
  })
})

test('what differs is named as the Go plugin does', () => {
  const shape = ingressShape(read(both)!)!
  const difference = differenceOf(shape, { root: undefined, classes: [], filters: [] })
  expect(difference).toEqual(['Failed to find qdisc', 'it has none, not tbf 1:'])
})
