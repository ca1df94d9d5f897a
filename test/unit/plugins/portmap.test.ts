import { describe, expect, test } from 'vitest'
import { CniError } from '../../../cni/error.ts'
import type { Attachment } from '../../../cni/plugin.ts'
import { parseConf, parseConfLenient } from '../../../cni/schema.ts'
import type { JsonObject, Result } from '../../../cni/types.ts'
import { backendOf, forwardingOf, type PortmapConf, portmapConf } from '../../../plugins/portmap/conf.ts'
import type { Forwarding } from '../../../plugins/portmap/forwarding.ts'
import {
  dnatChain,
  entryComment,
  isContainerChain,
  oldSnatChain,
} from '../../../plugins/portmap/iptables-names.ts'
import { addCommands, deleteCommands, readListing } from '../../../plugins/portmap/iptables-plan.ts'
import { rulesFor } from '../../../plugins/portmap/iptables-rules.ts'

const raw = (portMappings: unknown, more: JsonObject = {}): JsonObject => ({
  name: 'net',
  type: 'portmap',
  runtimeConfig: { portMappings: portMappings as JsonObject[] },
  ...more,
})
const read = (portMappings: unknown, more: JsonObject = {}): PortmapConf =>
  parseConf(portmapConf, raw(portMappings, more), 'portmap')
const refused = (portMappings: unknown, more: JsonObject = {}): string => {
  try {
    read(portMappings, more)
  } catch (error) {
    if (error instanceof CniError && error.code === 7) return error.msg
    throw error
  }
  return 'nothing'
}

const result: Result = {
  interfaces: [
    { name: 'cni0' },
    { name: 'eth0', sandbox: '/run/netns/blue' },
    { name: 'eth1', sandbox: '/x' },
  ],
  ips: [
    { address: '10.22.0.1/16', interface: 0 },
    { address: '10.23.0.5/16', interface: 2 },
    { address: '10.22.0.5/16', interface: 1 },
    { address: '10.22.0.6/16', interface: 1 },
    { address: 'FD00::0:5/64' },
  ],
}
const forwarding = (portMappings: unknown, more: JsonObject = {}): Forwarding =>
  forwardingOf(
    {
      conf: read(portMappings, more),
      network: 'net',
      containerId: 'cid',
      ifName: 'eth0',
    } as Attachment<PortmapConf>,
    result,
  )

const web = { hostPort: 8080, containerPort: 80, protocol: 'tcp' }

describe('mappings', () => {
  test('defaults, any case, and the first address of each family', () => {
    const { mappings, addresses, snat, masqAll, markMasqBit } = forwarding([
      { HOSTPORT: 8080, containerPort: 80, hostIP: '' },
      { hostPort: 53, containerPort: 5353, protocol: 'UDP', hostIP: '::ffff:192.0.2.1' },
      { hostPort: 54, containerPort: 54, protocol: '', hostIP: '2001:DB8::0:1' },
    ])
    expect(mappings).toEqual([
      { hostPort: 53, containerPort: 5353, protocol: 'udp', hostIp: '192.0.2.1' },
      { hostPort: 54, containerPort: 54, protocol: 'tcp', hostIp: '2001:db8::1' },
      { hostPort: 8080, containerPort: 80, protocol: 'tcp', hostIp: undefined },
    ])
    expect({ addresses, snat, masqAll, markMasqBit }).toEqual({
      addresses: ['10.22.0.5/16', 'fd00::5/64'],
      snat: true,
      masqAll: false,
      markMasqBit: 13,
    })
  })

  test('those that are one are one', () => {
    const any = { ...web, hostIP: '0.0.0.0' }
    expect(forwarding([web, web, any, { ...web, protocol: 'TCP' }]).mappings).toHaveLength(1)
    expect(forwarding([any, web]).mappings.map(({ hostIp }) => hostIp)).toEqual(['0.0.0.0', '::'])
    // An address of its own may lead elsewhere, and is asked first.
    const own = { ...web, containerPort: 81, hostIP: '192.0.2.1' }
    expect(forwarding([web, own]).mappings.map(({ containerPort }) => containerPort)).toEqual([81, 80])
  })

  test('on DEL what does not hold is left out', () => {
    const { conf } = parseConfLenient(
      portmapConf,
      raw([web, { ...web, hostPort: 99_999 }, 7], { snat: 'no', backend: 'x' }),
    )
    expect(conf.runtimeConfig?.portMappings).toEqual([{ ...web, hostIP: '' }])
    expect(conf.snat).toBe(true)
  })
})

describe('refused', () => {
  const prefix = 'failed to parse config: '
  test.each<[string, unknown, JsonObject, string]>([
    ['host port 0', [{ ...web, hostPort: 0 }], {}, `${prefix}Invalid host port number: 0`],
    ['no host port', [{ containerPort: 80 }], {}, `${prefix}Invalid host port number: 0`],
    ['a port too high', [{ ...web, hostPort: 65_536 }], {}, `${prefix}Invalid host port number: 65536`],
    [
      'container port',
      [{ hostPort: 0, containerPort: -1 }],
      {},
      `${prefix}Invalid container port number: -1`,
    ],
    [
      'text',
      [{ ...web, hostPort: '80' }],
      {},
      'failed to load netconf: portmap.runtimeConfig.portMappings[0].hostPort: expected integer from 1 to 65535, got string "80"',
    ],
    [
      'protocol',
      [{ ...web, protocol: 'icmp' }],
      {},
      'failed to load netconf: portmap.runtimeConfig.portMappings[0].protocol: expected tcp, udp, sctp, dccp, udplite, got string "icmp"',
    ],
    [
      'hostIP',
      [{ ...web, hostIP: 'localhost' }],
      {},
      'failed to load netconf: portmap.runtimeConfig.portMappings[0].hostIP: expected IP address, got string "localhost"',
    ],
    [
      'one port twice',
      [web, { ...web, containerPort: 81 }],
      {},
      `${prefix}host port 8080/tcp is mapped to two ports of the container`,
    ],
    [
      'the same by the way of all',
      [web, { ...web, containerPort: 81, hostIP: '::' }],
      {},
      `${prefix}host port 8080/tcp is mapped to two ports of the container`,
    ],
    ['backend', [], { backend: 'ipfw' }, `${prefix}unrecognized backend "ipfw"`],
    ['mark', [], { markMasqBit: 32 }, `${prefix}MasqMarkBit must be between 0 and 31`],
    [
      'two marks',
      [],
      { markMasqBit: 3, externalSetMarkChain: 'X' },
      `${prefix}Cannot specify externalSetMarkChain and markMasqBit`,
    ],
    [
      'an option for a chain',
      [],
      { externalSetMarkChain: '-F' },
      'failed to load netconf: portmap.externalSetMarkChain: expected name of a chain, got string "-F"',
    ],
    [
      'options of the other backend',
      [],
      { backend: 'nftables', conditionsV4: ['-s', '10.0.0.0/8'], externalSetMarkChain: 'X' },
      `${prefix}nftables backend was requested but configuration contains iptables-specific options [externalSetMarkChain conditionsV4]`,
    ],
    [
      'options of both',
      [],
      { conditionsV4: ['!', '-s', '10.0.0.0/8'], conditionsV6: ['ip6', 'saddr', 'fd00::1'] },
      `${prefix}iptables backend was requested but configuration contains nftables-specific options [conditionsV6]`,
    ],
    [
      'a condition of two lines',
      [],
      { conditionsV4: ['-s', '10.0.0.0/8\n-F'] },
      'failed to load netconf: portmap.conditionsV4[1]: expected text, got string "10.0.0.0/8\\n-F"',
    ],
  ])('%s', (_name, portMappings, more, msg) => {
    expect(refused(portMappings, more)).toBe(msg)
  })
})

test('the backend that a configuration means', () => {
  const conf = (more: JsonObject) => backendOf(read([], more))
  expect(conf({})).toBeUndefined()
  expect(conf({ backend: 'iptables' })).toBe('iptables')
  expect(conf({ externalSetMarkChain: 'KUBE-MARK-MASQ' })).toBe('iptables')
  expect(conf({ conditionsV6: ['!', '-i', 'lo'] })).toBe('iptables')
  expect(conf({ conditionsV4: ['iifname', 'eth0'] })).toBe('nftables')
  expect(conf({ conditionsV4: [], conditionsV6: [], markMasqBit: 1 })).toBeUndefined()
})

describe('iptables', () => {
  test('names are those of the Go plugin', () => {
    // As the Go plugin's own tests have it.
    const id = `icee6giejonei6sohng6ahngee7laquohquee9shiGo7fohferakah3Feiyoolu2pei7ciPhoh7shaoX6vai3vuf0ahfaeng8yohb9ceu0daez5hashee8ooYai5wa3y`
    expect(dnatChain('testNetName', id)).toBe('CNI-DN-bfd599665540dd91d5d28')
    expect(isContainerChain(oldSnatChain('net', 'cid'))).toBe(true)
    expect(['CNI-HOSTPORT-DNAT', 'CNI-DN-xyz', ''].some(isContainerChain)).toBe(false)
    expect(entryComment('n', 'c'.repeat(300))).toHaveLength(255)
    expect(entryComment('net', 'cid')).toBe('dnat name: "net" id: "cid"')
  })

  const chain = dnatChain('net', 'cid')
  const listing = (...lines: string[]) => readListing(lines)
  const text = (commands: readonly (readonly string[])[]) => commands.map((words) => words.join(' '))

  test('conditions stand where they apply, one family alone is nothing to the other', () => {
    const own = forwarding([{ ...web, hostIP: '192.0.2.1' }], {
      conditionsV4: ['!', '-s', '10.0.0.0/8'],
      snat: false,
    })
    expect(rulesFor(own, 6)).toBeNull()
    expect(rulesFor(own, 4)).toMatchObject({
      entries: [
        [
          '-p',
          'tcp',
          '-m',
          'comment',
          '--comment',
          'dnat name: "net" id: "cid"',
          '-m',
          'multiport',
          '--dports',
          '8080',
          '!',
          '-s',
          '10.0.0.0/8',
          '-j',
          chain,
        ],
      ],
      rules: [
        [
          '-d',
          '192.0.2.1/32',
          '-p',
          'tcp',
          '-m',
          'tcp',
          '--dport',
          '8080',
          '-j',
          'DNAT',
          '--to-destination',
          '10.22.0.5:80',
        ],
      ],
      marks: [],
    })
    expect(rulesFor({ ...own, addresses: [] }, 4)).toBeNull()
  })

  test('the highest bit of the mark is positive', () => {
    expect(JSON.stringify(rulesFor(forwarding([web], { markMasqBit: 31 }), 4)?.marks)).toContain(
      '0x80000000/0x80000000',
    )
  })

  test('what is there of the shared rules stays, the own ones are replaced', () => {
    const wanted = rulesFor(forwarding([web], { snat: false }), 4)!
    const have = listing(
      '-P PREROUTING ACCEPT',
      '-A PREROUTING -m addrtype --dst-type LOCAL -j CNI-HOSTPORT-DNAT',
      '-N CNI-HOSTPORT-DNAT',
      `-A CNI-HOSTPORT-DNAT -p tcp -m comment --comment "dnat name: \\"net\\" id: \\"cid\\"" -m multiport --dports 1,2 -j ${chain}`,
      '-A CNI-HOSTPORT-DNAT -p tcp -m multiport --dports 1,2 -j CNI-DN-another',
      `-N ${chain}`,
      `-A ${chain} -p tcp -m tcp --dport 1 -j DNAT --to-destination 10.22.0.99:1`,
    )
    expect(text(addCommands(have, wanted, new Set()))).toEqual([
      '-A OUTPUT -m addrtype --dst-type LOCAL -j CNI-HOSTPORT-DNAT',
      `:${chain} - [0:0]`,
      `-A ${chain} -p tcp -m tcp --dport 8080 -j DNAT --to-destination 10.22.0.5:80`,
      `-D CNI-HOSTPORT-DNAT -p tcp -m comment --comment dnat name: "net" id: "cid" -m multiport --dports 1,2 -j ${chain}`,
      `-I CNI-HOSTPORT-DNAT -p tcp -m comment --comment dnat name: "net" id: "cid" -m multiport --dports 8080 -j ${chain}`,
    ])
  })

  test('rules of another attachment of the container stay, with their marks and what leads to them', () => {
    const mine = `-A ${chain} -p tcp -m tcp --dport 8080 -j DNAT --to-destination 10.22.0.5:80`
    const have = listing(
      '-N CNI-HOSTPORT-DNAT',
      `-A CNI-HOSTPORT-DNAT -p tcp -m multiport --dports 8080 -j ${chain}`,
      `-A CNI-HOSTPORT-DNAT -p tcp -m multiport --dports 90,91 -j ${chain}`,
      `-N ${chain}`,
      `-A ${chain} -s 10.22.0.0/16 -p tcp -m tcp --dport 8080 -j CNI-HOSTPORT-SETMARK`,
      mine,
      `-A ${chain} -s 10.22.0.0/16 -p tcp -m tcp --dport 91 -j CNI-HOSTPORT-SETMARK`,
      `-A ${chain} -p tcp -m tcp --dport 91 -j DNAT --to-destination 10.22.0.9:80`,
    )
    const leads = [['CNI-HOSTPORT-DNAT', chain]] as const
    expect(text(deleteCommands(have, leads, new Set(['10.22.0.9'])))).toEqual([
      `:${chain} - [0:0]`,
      `-A ${chain} -s 10.22.0.0/16 -p tcp -m tcp --dport 91 -j CNI-HOSTPORT-SETMARK`,
      `-A ${chain} -p tcp -m tcp --dport 91 -j DNAT --to-destination 10.22.0.9:80`,
      `-D CNI-HOSTPORT-DNAT -p tcp -m multiport --dports 8080 -j ${chain}`,
    ])
    expect(text(deleteCommands(have, leads, new Set()))).toEqual([
      `-D CNI-HOSTPORT-DNAT -p tcp -m multiport --dports 8080 -j ${chain}`,
      `-D CNI-HOSTPORT-DNAT -p tcp -m multiport --dports 90,91 -j ${chain}`,
      `-F ${chain}`,
      `-X ${chain}`,
    ])
    expect(deleteCommands(listing(), leads, new Set())).toEqual([])
  })
})
