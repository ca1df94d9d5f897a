import { describe, expect, test } from 'vitest'
import type { JsonObject } from '../../../cni/types.ts'
import { staticIpam } from '../../../ipam/index.ts'
import { add, check, del, failure, gc, status } from './harness.ts'

const confOf = (ipam: JsonObject, rest: JsonObject = {}): JsonObject => ({
  cniVersion: '1.1.0',
  name: 'net',
  ipam: { type: 'static', ...ipam },
  ...rest,
})

const two = {
  addresses: [{ address: '10.1.2.3/16', gateway: '10.1.0.1' }, { address: '2001:DB8::0:7/64' }],
}

describe('ADD', () => {
  test('gives out what is configured, in the spelling of Go', async () => {
    const conf = confOf({
      ...two,
      routes: [{ dst: '0.0.0.0/0' }, { dst: '192.168.0.0/16', gw: '10.1.5.1', mtu: 1400, table: 0 }],
      dns: { nameservers: ['192.0.2.1'], search: ['a'] },
    })
    expect(await add(staticIpam, { conf })).toEqual({
      ips: [{ address: '10.1.2.3/16', gateway: '10.1.0.1' }, { address: '2001:db8::7/64' }],
      routes: [{ dst: '0.0.0.0/0' }, { dst: '192.168.0.0/16', gw: '10.1.5.1', mtu: 1400, table: 0 }],
      dns: { nameservers: ['192.0.2.1'], search: ['a'] },
    })
  })

  test('of nothing gives nothing', async () => {
    expect(await add(staticIpam, { conf: confOf({}) })).toEqual({ ips: [] })
  })

  test('appends the addresses of CNI_ARGS, with their gateways', async () => {
    const args = 'IP=10.9.0.5/24, 2001:db8:9::5/64;GATEWAY=10.9.0.1, 2001:db8:9::1,10.9.0.2'
    expect((await add(staticIpam, { conf: confOf(two), args })).ips).toEqual([
      { address: '10.1.2.3/16', gateway: '10.1.0.1' },
      { address: '2001:db8::7/64' },
      { address: '10.9.0.5/24', gateway: '10.9.0.2' },
      { address: '2001:db8:9::5/64', gateway: '2001:db8:9::1' },
    ])
  })

  test('gives the gateways of CNI_ARGS to all addresses that have none', async () => {
    const args = 'GATEWAY=10.1.0.9,2001:db8::1,192.0.2.1'
    expect((await add(staticIpam, { conf: confOf(two), args })).ips).toEqual([
      { address: '10.1.2.3/16', gateway: '10.1.0.1' },
      { address: '2001:db8::7/64', gateway: '2001:db8::1' },
    ])
  })

  test('lets args replace addresses, and runtimeConfig replace both', async () => {
    const args = { cni: { ips: ['10.5.0.1/24'] } }
    const ips = async (conf: JsonObject) => (await add(staticIpam, { conf, args: 'IP=10.9.0.5/24' })).ips
    expect(await ips(confOf(two, { args }))).toEqual([{ address: '10.5.0.1/24' }])
    expect(
      await ips(confOf(two, { args, runtimeConfig: { ips: ['10.6.0.1/24', '::ffff:10.7.0.1/120'] } })),
    ).toEqual([{ address: '10.6.0.1/24' }, { address: '10.7.0.1/24' }])
    // What is replaced is not looked at.
    expect(await ips(confOf({ addresses: [{ address: 'x' }] }, { args }))).toEqual([
      { address: '10.5.0.1/24' },
    ])
  })

  test.each<[JsonObject, string]>([
    [{ cniVersion: '1.0.0', name: 'net' }, "IPAM config missing 'ipam' key"],
    [
      confOf({ addresses: [{ address: '10.1.2.3' }] }),
      "the 'address' field is expected to be in CIDR notation, got: '10.1.2.3'",
    ],
    [confOf({ addresses: [{}] }), "the 'address' field is expected to be in CIDR notation, got: ''"],
    [
      confOf(two, { args: { cni: { ips: ['10.1.2.3'] } } }),
      "an entry in the 'ips' field is NOT in CIDR notation, got: '10.1.2.3'",
    ],
    [
      confOf(two, { runtimeConfig: { ips: ['10.1.2.3/24', 'x'] } }),
      "an entry in the 'ips' field is NOT in CIDR notation, got: 'x'",
    ],
    [
      {
        ...confOf({ addresses: [{ address: '10.1.2.3/16' }, { address: '10.2.2.3/16' }] }),
        cniVersion: '0.2.0',
      },
      'CNI version 0.2.0 does not support more than 1 address per family',
    ],
  ])('of %j fails: %s', async (conf, msg) => {
    for (const verb of [add, check]) {
      const error = await failure(verb(staticIpam, { conf, prevResult: {} }))
      expect({ code: error.code, msg: error.msg }).toEqual({ code: 7, msg })
    }
  })

  test.each([
    ['IP=10.1.2.3', "the 'ip' field is expected to be in CIDR notation, got: '10.1.2.3'"],
    ['IP=10.1.2.3/24,', "the 'ip' field is expected to be in CIDR notation, got: ''"],
    ['GATEWAY= 10.1', 'invalid gateway address:  10.1'],
    ['K=V', 'ARGS: unknown args ["K=V"]'],
  ])('with CNI_ARGS %s fails: %s', async (args, msg) => {
    const error = await failure(add(staticIpam, { conf: confOf(two), args }))
    expect({ code: error.code, msg: error.msg }).toEqual({ code: 4, msg })
  })

  test('with a gateway that is none names the key', async () => {
    const conf = confOf({ addresses: [{ address: '10.1.2.3/16', gateway: 'x' }] })
    expect((await failure(add(staticIpam, { conf }))).msg).toContain('ipam.addresses[0].gateway')
  })
})

describe('CHECK', () => {
  const ips = [
    { address: '10.1.2.3/16', gateway: '10.1.0.1' },
    { address: '2001:db8::7/64', gateway: '2001:db8::99' },
  ]

  test('finds each address in prevResult', async () => {
    await check(staticIpam, { conf: confOf(two), prevResult: { ips } })
    for (const prevResult of [{ ips: ips.slice(1) }, { ips: ips.slice(0, 1) }, {}]) {
      const { msg, details } = await failure(check(staticIpam, { conf: confOf(two), prevResult }))
      expect(msg).toMatch(/^static: Failed to match addr (10\.1\.2\.3|2001:db8::7) on interface eth0$/)
      expect(details).toBe('prevResult does not have it')
    }
  })

  test('compares the gateway that is configured', async () => {
    const prevResult = { ips: [{ address: '10.1.2.3/16', gateway: '10.1.0.2' }, ips[1]!] }
    const { msg, details } = await failure(check(staticIpam, { conf: confOf(two), prevResult }))
    expect(msg).toBe('static: Failed to match addr 10.1.2.3 on interface eth0')
    expect(details).toBe('its gateway should be 10.1.0.1')
  })

  test('needs prevResult', async () => {
    expect((await failure(check(staticIpam, { conf: confOf(two) }))).msg).toBe('Required prevResult missing')
  })
})

test('DEL and GC have nothing to do, whatever the configuration', async () => {
  await del(staticIpam, { conf: { name: 'net', ipam: 'x' }, args: 'nonsense' })
  await gc(staticIpam, { conf: { name: 'net' } }, [])
})

test('STATUS minds the configuration', async () => {
  await status(staticIpam, { conf: confOf(two) })
  expect((await failure(status(staticIpam, { conf: confOf({ addresses: [{ address: 'x' }] }) }))).code).toBe(
    7,
  )
})
