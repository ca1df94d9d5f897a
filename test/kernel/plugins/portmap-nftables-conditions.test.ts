import { test } from 'vitest'
import { parseConditions } from '../../../plugins/portmap/conditions.ts'
import { compareRules } from '../nftables/compare-rules.ts'

/** As nft prints them. */
const words = {
  ip: [
    'ip saddr 10.0.0.1',
    'ip daddr != 10.0.0.0/9',
    'ip saddr 10.0.0.1-10.0.0.9',
    'ip saddr { 10.0.0.0/8, 192.168.1.1-192.168.1.9 }',
    'ip saddr != { 10.0.0.1, 10.0.0.2 }',
    'iifname "eth0" oifname != "cni*"',
    'iifname { "eth0", "eth1" }',
    'meta mark 0x00000010',
    'meta mark & 0x000000ff != 0x00000010',
    'ct mark & 0x000000ff == 0x00000001 ct state established,new',
    'meta l4proto { tcp, udp } th dport 1024-65535',
    'tcp dport { 53, 67-68 }',
    'ip saddr 10.0.0.1 udp sport != 53',
    'ct status snat ct direction original',
    'fib daddr type local fib saddr type != local',
    'icmp type echo-request',
  ],
  ip6: [
    'ip6 saddr fd00::/64 ip6 daddr != fd00::1-fd00::9',
    'ip6 saddr { fd00::1, fd01::/16 }',
    'sctp dport 9',
  ],
} as const

test.each(['ip', 'ip6'] as const)(
  'conditions of %s are the rules that nft makes of the same words',
  (family) =>
    compareRules(
      family,
      words[family].map((line) => ({
        family,
        chain: 'filter',
        line,
        parts: parseConditions(family, line.split(' ')).parts,
      })),
    ),
)
