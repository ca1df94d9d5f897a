/** The numbers of traffic control against the system's own headers, by a small C program. */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import type { Rows } from '../../../netlink/codec/table.ts'
import { filterProtocols } from '../../../netlink/filter.ts'
import { mirredActions, mirredTable, verdicts } from '../../../netlink/qdisc/action.ts'
import { filterParents, qdiscParents } from '../../../netlink/qdisc/handle.ts'
import { htbTable } from '../../../netlink/qdisc/htb.ts'
import { statisticsTable, trafficLayout } from '../../../netlink/qdisc/layout.ts'
import { matchall } from '../../../netlink/qdisc/matchall.ts'
import { tbfTable } from '../../../netlink/qdisc/tbf.ts'
import { selectorHeader, selectorKey, u32 } from '../../../netlink/qdisc/u32.ts'

const upper = (name: string): string => name.replaceAll(/([a-z0-9])([A-Z])/g, '$1_$2').toUpperCase()
const names = (prefix: string, numbers: Readonly<Record<string, number>>): [string, number][] =>
  Object.entries(numbers).map(([name, number]) => [prefix + upper(name), number])
const rows = (prefix: string, table: { readonly rows: unknown }): [string, number][] =>
  names(
    prefix,
    Object.fromEntries(Object.entries(table.rows as Rows).map(([name, [number]]) => [name, number])),
  )

const constants: readonly [string, number][] = [
  ...rows('TCA_', trafficLayout.attributes),
  ...rows('TCA_STATS_', statisticsTable),
  ...rows('TCA_TBF_', tbfTable),
  ...rows('TCA_HTB_', htbTable),
  ...rows('TCA_U32_', u32),
  ...rows('TCA_MATCHALL_', matchall),
  ...rows('TCA_MIRRED_', mirredTable),
  ...names('TCA_', mirredActions),
  ...names('TC_ACT_', verdicts),
  ['TC_H_ROOT', qdiscParents.root],
  ['TC_H_INGRESS', qdiscParents.ingress],
  ['TC_H_CLSACT', qdiscParents.ingress],
  ['TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_INGRESS)', filterParents.ingress],
  ['TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_EGRESS)', filterParents.egress],
  ['ETH_P_ALL', filterProtocols.all],
  ['ETH_P_IP', filterProtocols.ip],
  ['ETH_P_ARP', filterProtocols.arp],
  ['ETH_P_8021Q', filterProtocols['802.1q']],
  ['ETH_P_IPV6', filterProtocols.ipv6],
  ['sizeof(struct tcmsg)', trafficLayout.header.size],
  ['sizeof(struct tc_u32_sel)', selectorHeader.size],
  ['sizeof(struct tc_u32_key)', selectorKey.size],
]

test('the numbers are those of the headers', () => {
  const directory = mkdtempSync(join(tmpdir(), 'qdisc-constants-'))
  onTestFinished(() => rmSync(directory, { recursive: true }))
  const source = [
    ...['stdio', 'linux/rtnetlink', 'linux/pkt_sched', 'linux/pkt_cls', 'linux/gen_stats', 'linux/if_ether'],
    'linux/tc_act/tc_mirred',
  ].map((header) => `#include <${header}.h>`)
  const lines = constants.map(([name]) => `printf("%lld\\n", (long long)(${name}));`)
  const file = join(directory, 'constants')
  writeFileSync(`${file}.c`, [...source, 'int main(void) {', ...lines, '}'].join('\n'))
  execFileSync('gcc', ['-o', file, `${file}.c`])
  const values = execFileSync(file, { encoding: 'utf8' }).trim().split('\n').map(Number)
  expect(constants.map(([name], i) => [name, values[i]])).toEqual(constants)
})
