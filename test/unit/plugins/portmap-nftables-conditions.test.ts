import { expect, test } from 'vitest'
import { CniError } from '../../../cni/error.ts'
import { match, type Part, range } from '../../../netlink/nftables/index.ts'
import { expressionsOf } from '../../../netlink/nftables/rules/context.ts'
import { parseConditions } from '../../../plugins/portmap/conditions.ts'

type Family = 'ip' | 'ip6'
const understood: readonly (readonly [Family, string, readonly Part[]])[] = [
  ['ip', 'ip saddr 10.0.0.1', [match.ipSaddr('10.0.0.1')]],
  ['ip', 'ip saddr == 10.0.0.1', [match.ipSaddr('10.0.0.1')]],
  ['ip', 'ip daddr != 10.0.0.0/9', [match.ipDaddr('10.0.0.0/9', 'ne')]],
  ['ip', 'ip saddr 10.0.0.1-10.0.0.9', [match.ipSaddr(range('10.0.0.1', '10.0.0.9'))]],
  ['ip', 'ip protocol tcp', [match.ipProtocol('tcp')]],
  ['ip6', 'ip6 saddr fd00::/64', [match.ip6Saddr('fd00::/64')]],
  ['ip6', 'ip6 daddr fd00::1-fd00::9', [match.ip6Daddr(range('fd00::1', 'fd00::9'))]],
  ['ip', 'iifname "eth0"', [match.iifname('eth0')]],
  ['ip', 'iifname != eth-*', [match.iifname('eth-*', 'ne')]],
  ['ip', 'meta oifname cni0', [match.oifname('cni0')]],
  ['ip', 'iif lo oif "a-b"', [match.iifname('lo'), match.oifname('a-b')]],
  ['ip', 'meta l4proto { tcp, udp }', [match.l4proto(['tcp', 'udp'])]],
  ['ip', 'mark 0x10', [match.mark(0x10)]],
  ['ip', 'meta mark & 0xff != 16', [match.markBits(0xff, 16, 'ne')]],
  ['ip', 'ct mark&0xff==1', [match.ctMarkBits(0xff, 1)]],
  ['ip', 'tcp dport 80 tcp sport 1024-65535', [match.tcpDport(80), match.tcpSport(range(1024, 65_535))]],
  ['ip', 'udp dport != {53,67-68}', [match.udpDport([53, range(67, 68)], 'ne')]],
  ['ip', 'th sport 5', [match.thSport(5)]],
  ['ip', 'sctp dport 9', [match.sctpDport(9)]],
  ['ip', 'ct state new,established', [match.ctState(['new', 'established'])]],
  ['ip', 'ct state != invalid', [match.ctState(['invalid'], 'ne')]],
  ['ip', 'ct status snat', [match.ctStatus(['snat'])]],
  ['ip', 'ct direction original', [match.ctDirection('original')]],
  ['ip', 'fib daddr type local', [match.fibDaddrType('local')]],
  ['ip', 'icmp type echo-request', [match.icmpType('echo-request')]],
  ['ip6', 'icmpv6 type != 128', [match.icmpv6Type(128, 'ne')]],
]

test.each(understood)('%s: %s', (family, line, parts) => {
  const whole = parseConditions(family, [line])
  // Sets are apart from the expressions; what they hold is compared by the kernel's tests.
  const plain = (all: readonly Part[]) =>
    line.includes('{') ? expressionsOf(family, all).length : expressionsOf(family, all)
  expect(plain(whole.parts)).toEqual(plain(parts))
  // However they are spaced, conditions are the same.
  const split = parseConditions(family, line.split(' '))
  expect(split.group).toBe(whole.group)
  expect(whole.group).toMatch(/^[0-9a-f]{16}$/)
})

test('none', () => {
  for (const words of [[], [''], ['  ', ' ']]) {
    const { group, parts, text } = parseConditions('ip', words)
    expect([group, parts, text]).toEqual(['', [], ''])
  }
})

const refused: readonly (readonly [Family, string, string])[] = [
  ['ip', 'numgen random mod 2', '"numgen" is not something that conditions can be about'],
  ['ip', 'ip saddr', 'a value for ip saddr is missing at the end'],
  ['ip', 'ip saddr !=', 'a value for ip saddr is missing at the end'],
  ['ip', 'ip saddr {', 'a value for ip saddr is missing at the end'],
  ['ip', 'ip saddr { 10.0.0.1', 'the end of a set, } is missing at the end'],
  ['ip', 'ip saddr { 10.0.0.1 10.0.0.2 }', '"10.0.0.2" is not the end of a set, }'],
  ['ip', 'ip saddr { }', '"}" is not a value for ip saddr'],
  ['ip', 'ip saddr 10.0.0.256', '10.0.0.256'],
  ['ip', 'ip saddr 10.0.0.9-10.0.0.1', 'is empty'],
  ['ip', 'ip saddr fd00::1', 'fd00::1'],
  ['ip', 'ip saddr 10.0.0.0/33', '10.0.0.0/33'],
  ['ip', 'ip6 saddr fd00::1', 'can not match ip and ip6'],
  ['ip', 'tcp dport 65536', '65536'],
  ['ip', 'tcp dport http', 'http'],
  ['ip', 'tcp dport 1 udp dport 1', 'at once'],
  ['ip', 'tcp dport & 1 == 1', 'takes no "&"'],
  ['ip', 'mark & 0x1ffffffff == 1', '0x1ffffffff'],
  ['ip', 'mark & 1 == x', '"x" is not a number'],
  ['ip', 'ct state now', 'now'],
  ['ip', 'iifname aninterfacenametoolong', 'aninterfacenametoolong'],
  ['ip', 'iifname *', 'matches everything'],
  ['ip', 'iifname { eth* }', 'whole names'],
  ['ip', 'ip saddr 10.0.0.1 counter', '"counter"'],
  ['ip', 'ip saddr 10.0.0.1; flush ruleset', '"flush"'],
  ['ip', 'iifname "eth0', '"\\"eth0" is not understood'],
  ['ip', 'ip saddr = 10.0.0.1', '"= 10.0.0.1" is not understood'],
  ['ip', '"ip" saddr 10.0.0.1', '"ip" is not something'],
]
test.each(refused)('%s: %s is refused', (family, line, words) => {
  try {
    parseConditions(family, line.split(' '))
  } catch (error) {
    expect(error).toBeInstanceOf(CniError)
    const { code, msg, details } = error as CniError
    expect(code).toBe(7)
    expect(msg).toContain('failed to parse config: conditionsV4: ')
    expect(msg).toContain(words)
    expect(details).toContain('understood are ip saddr, ')
    return
  }
  throw new Error('it was understood')
})

test('an error says which key', () => {
  expect(() => parseConditions('ip6', ['x'])).toThrow('conditionsV6: "x"')
})
