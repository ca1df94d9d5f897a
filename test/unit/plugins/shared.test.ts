import { describe, expect, test } from 'vitest'
import { CniError } from '../../../cni/error.ts'
import type { Exec } from '../../../cni/exec.ts'
import { installedRoutes } from '../../../plugins/shared/configure.ts'
import { chooseDns } from '../../../plugins/shared/dns.ts'
import { Failures } from '../../../plugins/shared/failures.ts'
import {
  isVethName,
  ownerAlias,
  ownerOfAlias,
  portMac,
  randomMac,
  vethName,
} from '../../../plugins/shared/identity.ts'
import { requestedMac } from '../../../plugins/shared/mac.ts'
import {
  addIptablesMasquerade,
  missingIptablesMasquerade,
} from '../../../plugins/shared/masquerade-iptables.ts'
import {
  deleteLegacyMasquerade,
  gcLegacyMasquerade,
} from '../../../plugins/shared/masquerade-iptables-legacy.ts'
import {
  chainName,
  isChainName,
  ownerInComment,
  ruleComment,
} from '../../../plugins/shared/masquerade-iptables-names.ts'
import { ownAddresses } from '../../../plugins/shared/result.ts'
import { code, sources } from '../house/sources.ts'

describe('identity', () => {
  test('names and addresses are of the form they have to be', () => {
    for (let i = 0; i < 200; i++) {
      expect(isVethName(vethName())).toBe(true)
      expect(randomMac()).toMatch(/^[0-9a-f][26ae](:[0-9a-f]{2}){5}$/)
      expect(portMac()).toMatch(/^fe(:[0-9a-f]{2}){5}$/)
    }
    expect(['veth0', 'cni0.100', 'vethABCDEF01', 'veth0123456g'].map(isVethName)).toEqual([
      false,
      false,
      false,
      false,
    ])
  })

  test('an alias tells whose a link is, in its own network only', () => {
    const owner = { containerId: 'a.b_c-d', ifName: 'eth0' }
    const alias = ownerAlias('net', owner)!
    expect(alias).toBe('linkwright:net/a.b_c-d/eth0')
    expect(ownerOfAlias('net', alias)).toEqual(owner)
    for (const network of ['ne', 'net2', 'a']) expect(ownerOfAlias(network, alias)).toBeUndefined()
    for (const other of [undefined, '', 'eth0 of somebody', 'linkwright:net/x', 'linkwright:net/x/y/z'])
      expect(ownerOfAlias('net', other)).toBeUndefined()
    expect(ownerAlias('n'.repeat(300), owner)).toBeUndefined()
  })

  test.each([
    ['', ''],
    ['02-11-22-33-44-5F', '02:11:22:33:44:5f'],
    ['0211.2233.4455', '02:11:22:33:44:55'],
  ])('a requested MAC %j is %j', (text, expected) => {
    expect(requestedMac(text)).toBe(expected)
  })
  test.each(['x', '02:11:22:33:44', '02:11:22:33:44:55:66:77', 'ff:ff:ff:ff:ff:ff', '00:00:00:00:00:00'])(
    'and %s is none',
    (text) => {
      expect(() => requestedMac(text)).toThrow(`invalid MAC address ${JSON.stringify(text)}`)
    },
  )
})

describe('routes', () => {
  const ips = [
    { address: '10.9.0.5/24', gateway: '10.9.0.1' },
    { address: '10.9.0.6/24', gateway: '10.9.0.2' },
    { address: 'fd00::5/64' },
  ]
  test('go over the first gateway of their family, without host bits, once each', () => {
    const routes = installedRoutes(ips, [
      { dst: '10.1.2.3/16' },
      { dst: '10.1.0.0/16', gw: '10.9.0.1' },
      { dst: '10.1.0.0/16', gw: '10.9.0.9' },
      { dst: '10.1.0.0/16', priority: 5 },
      { dst: '10.1.0.0/16', table: 254 },
      { dst: '10.1.0.0/16', table: 7 },
      { dst: 'fd00:1::/48' },
    ])
    expect(routes.map(({ dst, gw, priority, table }) => [dst, gw, priority, table])).toEqual([
      ['10.1.0.0/16', '10.9.0.1', undefined, undefined],
      ['10.1.0.0/16', '10.9.0.9', undefined, undefined],
      ['10.1.0.0/16', '10.9.0.1', 5, undefined],
      ['10.1.0.0/16', '10.9.0.1', undefined, 7],
      ['fd00:1::/48', undefined, undefined, undefined],
    ])
  })

  test('that are none are refused', () => {
    expect(() => installedRoutes(ips, [{ dst: 'nowhere' }])).toThrow(CniError)
  })
})

test("dns is the network's where it names anything", () => {
  const ipam = { nameservers: ['9.9.9.9'] }
  expect(chooseDns(undefined, ipam)).toBe(ipam)
  expect(chooseDns({}, ipam)).toBe(ipam)
  expect(chooseDns({ domain: '' }, ipam)).toBe(ipam)
  for (const own of [{ domain: 'x' }, { nameservers: [] }, { search: [] }, { options: ['a'] }])
    expect(chooseDns(own, ipam)).toBe(own)
  expect(chooseDns(undefined, undefined)).toBeUndefined()
})

describe('failures', () => {
  test('come out together, the first in front', async () => {
    const failures = new Failures()
    expect(await failures.attempt(async () => 7)).toBe(7)
    failures.raise()
    const first = new CniError({ code: 11, msg: 'busy', details: 'wait' })
    expect(
      await failures.attempt(() => {
        throw first
      }),
    ).toBeUndefined()
    expect(() => failures.raise()).toThrow(first)
    await failures.attempt(() => Promise.reject(new Error('and this')))
    expect(() => failures.raise()).toThrow(
      expect.objectContaining({ code: 11, msg: 'busy', details: 'wait; and this', cause: first }),
    )
  })
})

describe('iptables', () => {
  /** A program of make-believe: `nat` is what `-S` prints, and rules that are there satisfy `-C`. */
  const programs = (nat: string[] = [], missing: readonly string[] = []) => {
    const calls: string[] = []
    const exec: Exec = async (file, args) => {
      if (missing.includes(file))
        throw Object.assign(new Error(`${file}: no such program`), { code: 'ENOENT' })
      expect(args.slice(0, 3)).toEqual(['--wait', '-t', 'nat'])
      const [verb, ...rest] = args.slice(3)
      if (verb === '-C')
        return { status: nat.includes(`-A ${rest.join(' ')}`) ? 0 : 1, stdout: '', stderr: '' }
      if (verb === '-S') {
        const found = rest.length === 0 || nat.includes(`-N ${rest[0]}`)
        return { status: found ? 0 : 1, stdout: nat.join('\n'), stderr: '' }
      }
      calls.push(`${file} ${verb} ${rest.join(' ')}`)
      if (verb === '-D')
        nat.splice(
          nat.findIndex((line) => line.startsWith(`-A ${rest[0]}`)),
          1,
        )
      return { status: 0, stdout: '', stderr: '' }
    }
    return { exec, calls, nat }
  }
  const silent = { debug() {}, info() {}, warn() {}, error() {} }

  test('chains have the names of the Go plugins', () => {
    expect(chainName('test', '1234')).toBe('CNI-2bbe0c48b91a7d1b8a6753a8')
    expect(isChainName('CNI-2bbe0c48b91a7d1b8a6753a8')).toBe(true)
    for (const other of ['CNI-DN-2bbe0c48b91a7d1b8a675', 'CNI-HOSTPORT-DNAT', 'CNI-'])
      expect(isChainName(other)).toBe(false)
  })

  test("the owner is found in a rule's comment", () => {
    const comment = ruleComment('my-net', 'abc')
    expect(comment).toBe('name: "my-net" id: "abc"')
    expect(ownerInComment('my-net', `xx${comment}yy`)).toBe('abc')
    expect(ownerInComment('net', comment)).toBeUndefined()
    expect(ownerInComment('my-net', 'name: "my-net" id: "abc')).toBeUndefined()
  })

  test('only what is missing is added, what is not masqueraded first', async () => {
    const { exec, calls } = programs()
    const masquerade = { network: 'n', containerId: 'c', addresses: ['10.9.0.5/24', 'fd00::5/64'] }
    await addIptablesMasquerade(exec, masquerade)
    const chain = chainName('n', 'c')
    const comment = '-m comment --comment name: "n" id: "c"'
    expect(calls).toEqual([
      `iptables -N ${chain}`,
      `iptables -I ${chain} -d 10.9.0.0/24 -j ACCEPT ${comment}`,
      `iptables -A ${chain} ! -d 224.0.0.0/4 -j MASQUERADE ${comment}`,
      `iptables -A POSTROUTING -s 10.9.0.5 -j ${chain} ${comment}`,
      `ip6tables -N ${chain}`,
      `ip6tables -I ${chain} -d fd00::/64 -j ACCEPT ${comment}`,
      `ip6tables -A ${chain} ! -d ff00::/8 -j MASQUERADE ${comment}`,
      `ip6tables -A POSTROUTING -s fd00::5 -j ${chain} ${comment}`,
    ])
    const present = calls.map((line) => line.replace(/^ip6?tables /, '').replace(/^-I/, '-A'))
    const again = programs(present)
    await addIptablesMasquerade(again.exec, masquerade)
    expect(again.calls).toEqual([])
    expect(await missingIptablesMasquerade(again.exec, masquerade)).toEqual([])
    expect(await missingIptablesMasquerade(programs().exec, masquerade)).toHaveLength(6)
  })

  test('a program that refuses is quoted', async () => {
    const exec: Exec = async () => ({ status: 4, stdout: '', stderr: 'Permission denied\n' })
    const masquerade = { network: 'n', containerId: 'c', addresses: ['10.9.0.5/24'] }
    await expect(addIptablesMasquerade(exec, masquerade)).rejects.toThrow(
      /^iptables -t nat -S CNI-\w+ 1: Permission denied$/,
    )
  })

  const chain = chainName('n', 'c')
  const rule = (source: string) =>
    `-A POSTROUTING -s ${source} -m comment --comment "name: \\"n\\" id: \\"c\\"" -j ${chain}`

  test('of the old kind are removed by the program of their own name, or by the only one there is', async () => {
    for (const [missing, used] of [
      [[], 'iptables-legacy'],
      [['iptables-legacy'], 'iptables'],
    ] as const) {
      const { exec, calls } = programs([`-N ${chain}`, rule('10.9.0.5/32')], missing)
      await deleteLegacyMasquerade({ exec, log: silent }, 4, chain, (source) => source === '10.9.0.5')
      expect(calls).toEqual([
        `${used} -D POSTROUTING -s 10.9.0.5/32 -m comment --comment name: "n" id: "c" -j ${chain}`,
        `${used} -F ${chain}`,
        `${used} -X ${chain}`,
      ])
    }
  })

  test('of the old kind stay where there is no program to remove them, or where they are not ours', async () => {
    const none = programs([`-N ${chain}`, rule('10.9.0.5/32')], ['iptables', 'iptables-legacy'])
    await deleteLegacyMasquerade({ exec: none.exec, log: silent }, 4, chain, () => true)
    expect(none.calls).toEqual([])
    const others = programs([`-N ${chain}`, rule('10.9.0.6/32')])
    await deleteLegacyMasquerade({ exec: others.exec, log: silent }, 4, chain, () => false)
    expect(others.calls).toEqual([])
  })

  test('of the old kind are collected by their comments', async () => {
    const { exec, calls } = programs([`-N ${chain}`, rule('10.9.0.5/32')])
    await gcLegacyMasquerade({ exec, log: silent }, 4, 'other', new Set())
    await gcLegacyMasquerade({ exec, log: silent }, 4, 'n', new Set(['c']))
    expect(calls).toEqual([])
    await gcLegacyMasquerade({ exec, log: silent }, 4, 'n', new Set(['d']))
    expect(calls).toHaveLength(3)
  })
})

describe("the attachment's own addresses", () => {
  const interfaces = [
    { name: 'br0' },
    { name: 'eth0' },
    { name: 'eth0', sandbox: '/run/netns/a' },
    { name: 'net1', sandbox: '/run/netns/a' },
  ]
  const of = (index: number | undefined) =>
    ownAddresses({ interfaces, ips: [{ address: '10.0.0.2/24', interface: index }] }, { ifName: 'eth0' })

  test.each([
    ['of its interface', 2, 1],
    ['of no interface', undefined, 1],
    ['of an interface that the result does not list', 4, 1],
    ['of another one of the container', 3, 0],
    ['of an interface of the host', 0, 0],
    ['of one of the host that has the same name', 1, 0],
  ])('one %s', (_, index, count) => expect(of(index)).toHaveLength(count))

  test('are none where there are none', () => expect(ownAddresses({}, { ifName: 'eth0' })).toEqual([]))

  test('are told in one place', () => {
    const telling = sources.filter(
      (path) => path.startsWith('plugins/') && /\.interface === (undefined|\w*index)\b/i.test(code(path)),
    )
    expect(telling).toEqual([])
  })
})
