import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import type { Rows } from '../../../netlink/codec/table.ts'
import { Writer } from '../../../netlink/codec/writer.ts'
import {
  conntrackLayout,
  conntrackStatus,
  count,
  list,
  portProtocols,
  remove,
  statisticsLayout,
} from '../../../netlink/conntrack.ts'

const upper = (name: string): string => name.replaceAll(/([a-z0-9])([A-Z])/g, '$1_$2').toUpperCase()
const rows = (prefix: string, table: unknown, special: Readonly<Record<string, string>> = {}) =>
  Object.entries((table as { rows: Rows }).rows).map(([name, [number]]): [string, number] => [
    prefix + (special[name] ?? upper(name)),
    number,
  ])
const numbers = (prefix: string, all: Readonly<Record<string, number>>) =>
  Object.entries(all).map(([name, number]): [string, number] => [prefix + upper(name), number])

const { rows: attributes } = conntrackLayout.attributes
const { rows: tuple } = attributes.tupleOrig[1] as unknown as { rows: Rows }
const entry = { family: 'ip', original: {}, reply: {}, raw: {}, zone: 0, id: 1 } as unknown as Parameters<
  typeof remove
>[0]

const constants: [string, number][] = [
  ['(NFNL_SUBSYS_CTNETLINK << 8) | IPCTNL_MSG_CT_GET', list({}).type],
  ['(NFNL_SUBSYS_CTNETLINK << 8) | IPCTNL_MSG_CT_GET_STATS', count().type],
  ['(NFNL_SUBSYS_CTNETLINK << 8) | IPCTNL_MSG_CT_DELETE', remove(entry).type],
  ['sizeof(struct nfgenmsg)', conntrackLayout.header.size],
  ...rows('CTA_', conntrackLayout.attributes),
  ...rows('CTA_TUPLE_', attributes.tupleOrig[1]),
  ...rows('CTA_IP_', tuple.ip![1]),
  ...rows('CTA_PROTO_', tuple.proto![1]),
  ...rows('CTA_FILTER_', attributes.filter[1]),
  ...rows('CTA_STATS_GLOBAL_', statisticsLayout.attributes),
  ...numbers('IPS_', conntrackStatus),
  ...numbers('IPPROTO_', portProtocols),
]

test('the numbers are those of the headers', () => {
  const directory = mkdtempSync(join(tmpdir(), 'ct-constants-'))
  onTestFinished(() => rmSync(directory, { recursive: true }))
  const headers = [
    'stdio.h',
    'netinet/in.h',
    'linux/netfilter/nfnetlink.h',
    'linux/netfilter/nfnetlink_conntrack.h',
    'linux/netfilter/nf_conntrack_common.h',
  ]
  const program = [
    ...headers.map((header) => `#include <${header}>`),
    'int main(void) {',
    ...constants.map(([constant]) => `printf("%u\\n", (unsigned)(${constant}));`),
    '}',
  ].join('\n')
  const path = join(directory, 'constants')
  writeFileSync(`${path}.c`, program)
  execFileSync('gcc', ['-o', path, `${path}.c`])
  const values = execFileSync(path, { encoding: 'utf8' }).trim().split('\n').map(Number)
  expect(constants.map(([constant], i) => [constant, values[i]])).toEqual(constants)
})

test('a filter names what the kernel is to compare', () => {
  const writer = new Writer()
  list({
    family: 'ip',
    protocol: 'udp',
    originalDestinationPort: 53,
    originalDestination: '192.0.2.1',
  }).write(writer)
  expect(Buffer.from(writer.finish()).toString('hex')).toBe(
    [
      '02000000',
      // CTA_TUPLE_ORIG { CTA_TUPLE_IP { CTA_IP_V4_DST }, CTA_TUPLE_PROTO { CTA_PROTO_NUM, CTA_PROTO_DST_PORT } }
      '24000180',
      '0c000180',
      '08000200c0000201',
      '14000280',
      '0500010011000000',
      '0600030000350000',
      // CTA_FILTER { CTA_FILTER_ORIG_FLAGS: destination, protocol, its port; CTA_FILTER_REPLY_FLAGS: nothing }
      '14001980',
      '080001002a000000',
      '0800020000000000',
    ].join(''),
  )
  const both = new Writer()
  // Of both families the kernel can't filter.
  list({ protocol: 'udp', originalDestinationPort: 53 }).write(both)
  expect(Buffer.from(both.finish()).toString('hex')).toBe('00000000')
})
