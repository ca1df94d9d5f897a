/** static: what it prints, beside the Go plugin. */
import { describe, expect, test } from 'vitest'
import type { JsonObject } from '../../../cni/types.ts'
import { goVersions } from '../../support/plugin.ts'
import { type Operation, peers, printed } from './peers.ts'

const both = peers()

type Call = Partial<Operation> & { readonly ipam?: JsonObject | null; readonly rest?: JsonObject }

const callBoth = async ({ ipam = {}, rest = {}, ...operation }: Call) => {
  const conf: JsonObject = {
    cniVersion: '1.0.0',
    name: 'net',
    type: 'bridge',
    ...(ipam && { ipam: { type: 'static', ...ipam } }),
    ...rest,
  }
  const [expected, actual] = await Promise.all(
    [both.go, both.ours].map((peer) => peer.run('static', { command: 'ADD', ...operation, conf })),
  )
  return { expected: expected!, actual: actual! }
}

const compare = async (call: Call): Promise<void> => {
  const { expected, actual } = await callBoth(call)
  expect(actual.error?.msg).toEqual(expected.error?.msg)
  expect(actual.status).toBe(expected.status)
  expect(printed(actual)).toEqual(printed(expected))
}

const addresses = [{ address: '10.1.2.3/16', gateway: '10.1.0.1' }, { address: '2001:DB8::0:7/64' }]
const routes = [
  { dst: '0.0.0.0/0' },
  { dst: '192.168.3.4/16', gw: '10.1.0.9' },
  { dst: '::/0', gw: '2001:DB8::1' },
]

describe('ADD', () => {
  test.each<[string, Call]>([
    ['addresses', { ipam: { addresses } }],
    [
      'routes and dns',
      {
        ipam: {
          addresses,
          routes,
          dns: { nameservers: ['192.0.2.1'], domain: 'd', search: ['s'], options: ['o'] },
        },
      },
    ],
    ['empty lists', { ipam: { addresses: [], routes: [], dns: { nameservers: [], search: [] } } }],
    ['nothing', { ipam: {} }],
    [
      'nulls',
      { ipam: { addresses: null, routes: null, dns: null }, rest: { args: null, runtimeConfig: null } },
    ],
    [
      'keys in any case',
      { ipam: null, rest: { IPAM: { Addresses: [{ ADDRESS: '10.1.2.3/16', Gateway: '' }] } } },
    ],
    [
      'an IPv4-mapped address',
      { ipam: { addresses: [{ address: '::ffff:10.1.2.3/112', gateway: '::ffff:10.1.0.1' }] } },
    ],
    ['CNI_ARGS', { ipam: { addresses }, args: 'IP=10.9.0.5/24;GATEWAY=10.9.0.1' }],
    [
      'CNI_ARGS with several',
      {
        ipam: { addresses },
        args: 'IP=10.9.0.5/24, 2001:db8:9::5/64;GATEWAY=10.9.0.1,2001:db8:9::1 , 10.9.0.2',
      },
    ],
    ['CNI_ARGS with a gateway for nobody', { ipam: { addresses }, args: 'GATEWAY=192.0.2.1' }],
    ['CNI_ARGS with empty values', { ipam: { addresses }, args: 'IP=;GATEWAY=;IgnoreUnknown=true;K=V' }],
    ['args', { ipam: { addresses }, rest: { args: { cni: { ips: ['10.5.0.1/24', '10.6.0.1/24'] } } } }],
    ['runtimeConfig', { ipam: { addresses }, rest: { runtimeConfig: { ips: ['10.5.0.1/24'] } } }],
    [
      'all of them',
      {
        ipam: { addresses },
        args: 'IP=10.9.0.5/24',
        rest: { args: { cni: { ips: ['10.6.0.1/24'] } }, runtimeConfig: { ips: ['10.5.0.1/24'] } },
      },
    ],
    [
      'args that replace what is wrong',
      { ipam: { addresses: [{ address: 'x' }] }, rest: { args: { cni: { ips: ['10.5.0.1/24'] } } } },
    ],
    ['no ipam', { ipam: null }],
    ['an address without a prefix', { ipam: { addresses: [{ address: '10.1.2.3' }] } }],
    ['an empty address', { ipam: { addresses: [{}] } }],
    ['args without a prefix', { ipam: { addresses }, rest: { args: { cni: { ips: ['10.1.2.3'] } } } }],
    [
      'runtimeConfig without a prefix',
      { ipam: { addresses }, rest: { runtimeConfig: { ips: ['10.1.2.3'] } } },
    ],
    ['CNI_ARGS without a prefix', { ipam: { addresses }, args: 'IP=10.1.2.3/24,10.1.2.4' }],
    ['CNI_ARGS with a gateway that is none', { ipam: { addresses }, args: 'GATEWAY=10.1.0.1, x' }],
    ['CNI_ARGS that nobody knows', { ipam: { addresses }, args: 'K=V' }],
  ])('%s', (_, call) => compare(call))

  test.each(goVersions)('version %s', async (cniVersion) => {
    await compare({ ipam: { addresses, routes }, rest: { cniVersion } })
    await compare({ ipam: { addresses: [...addresses, { address: '10.7.0.1/16' }] }, rest: { cniVersion } })
  })
})

describe('CHECK', () => {
  const prevResult = {
    cniVersion: '1.0.0',
    ips: [
      { address: '10.1.2.3/16', gateway: '10.1.0.1' },
      { address: '2001:db8::7/64', gateway: '2001:db8::1' },
    ],
  }
  const command = 'CHECK'

  test.each<[string, Call]>([
    ['of what is there', { ipam: { addresses }, rest: { prevResult } }],
    [
      'of another gateway',
      {
        ipam: { addresses: [{ address: '10.1.2.3/16', gateway: '10.1.0.2' }] },
        rest: { prevResult },
      },
    ],
    ['without prevResult', { ipam: { addresses } }],
  ])('%s', (_, call) => compare({ command, ...call }))

  test('of what is missing fails, where the Go plugin sees nothing wrong', async () => {
    const ipam = { addresses: [{ address: '10.1.2.4/16' }] }
    const { expected, actual } = await callBoth({ command, ipam, rest: { prevResult } })
    expect(expected.status).toBe(0)
    expect(actual.error?.msg).toBe('static: Failed to match addr 10.1.2.4 on interface eth0')
  })
})

test('DEL, whatever the configuration', async () => {
  await compare({ command: 'DEL', ipam: { addresses } })
  await compare({ command: 'DEL', ipam: { addresses: [{ address: 'x' }] }, args: 'nonsense' })
})

test('a gateway of CNI_ARGS reaches addresses of the configuration, which it does not in the Go plugin', async () => {
  const ipam = { addresses: [{ address: '10.1.2.3/16' }] }
  const { expected, actual } = await callBoth({ ipam, args: 'GATEWAY=10.1.0.1' })
  expect(expected.result?.ips).toEqual([{ address: '10.1.2.3/16' }])
  expect(actual.result?.ips).toEqual([{ address: '10.1.2.3/16', gateway: '10.1.0.1' }])
})
