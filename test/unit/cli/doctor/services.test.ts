/** Judgements over the daemon, leases and what is left behind; the report. */
import { describe, expect, it } from 'vitest'
import { checkDaemon } from '../../../../cli/commands/doctor/checks/daemon.ts'
import { checkKeepers } from '../../../../cli/commands/doctor/checks/leases.ts'
import { checkLeftBehind, type LeftBehind } from '../../../../cli/commands/doctor/checks/left-behind.ts'
import type { AttachmentFacts, CacheFacts } from '../../../../cli/commands/doctor/facts/attachments.ts'
import { type DaemonFacts, lookAtDaemon } from '../../../../cli/commands/doctor/facts/daemon.ts'
import type { KeeperFacts } from '../../../../cli/commands/doctor/facts/leases.ts'
import type { RuleOwner } from '../../../../cli/commands/doctor/facts/left-behind.ts'
import {
  type Finding,
  failure,
  ok,
  type Seen,
  unknown,
  warning,
} from '../../../../cli/commands/doctor/finding.ts'
import { printFindings, printReport } from '../../../../cli/commands/doctor/report.ts'
import { see } from '../../../../cli/commands/doctor/see.ts'
import { masqueradeComment } from '../../../../plugins/shared/masquerade-nftables.ts'

const seen = <T>(value: T): Seen<T> => ({ seen: true, value })
const notSeen = { seen: false, why: 'ECONNREFUSED' } as const
const forbidden = { seen: false, why: 'EACCES' } as const
const bad = (findings: readonly Finding[]): Record<string, string> =>
  Object.fromEntries(
    findings.filter(({ severity }) => severity !== 'ok').map(({ id, severity }) => [id, severity]),
  )

describe('see', () => {
  it('does not wait for ever, and tells why it saw nothing', async () => {
    let aborted = false
    const hung = await see(20, (signal) => {
      signal.addEventListener('abort', () => {
        aborted = true
      })
      return new Promise<never>(() => {})
    })
    expect(hung).toEqual({ seen: false, why: 'no answer within 20 ms' })
    expect(aborted).toBe(true)
    const thrown = await see(1000, () => {
      throw new Error('no')
    })
    expect(thrown).toEqual({ seen: false, why: 'no' })
    expect(await see(1000, () => 1)).toEqual({ seen: true, value: 1 })
  })
})

describe('daemon', () => {
  const answer = { version: '1.0.0', pid: 7, uptime: 1, running: 0, queued: 0 }
  const fine: DaemonFacts = {
    socket: '/run/x',
    file: 'socket',
    access: { mode: 0o600, uid: 0 },
    answer: seen(answer),
  }
  const judge = (more: Partial<DaemonFacts>, ...releases: string[]) =>
    bad(checkDaemon(seen({ ...fine, ...more }), '/run/x', releases))

  it('answers, is silent, is old, is open to others, or is not there', () => {
    expect(judge({})).toEqual({})
    expect(judge({}, '1.0.0')).toEqual({})
    expect(judge({}, '1.0.0', '1.1.0')).toEqual({ 'daemon.version': 'warning' })
    expect(judge({ answer: notSeen })).toEqual({ 'daemon.socket': 'warning' })
    expect(judge({ answer: forbidden })).toEqual({ 'daemon.socket': 'unknown' })
    expect(judge({ file: 'other', answer: null })).toEqual({ 'daemon.socket': 'warning' })
    expect(judge({ access: { mode: 0o660, uid: 0 } })).toEqual({ 'daemon.access': 'warning' })
    expect(judge({ access: { mode: 0o600, uid: 5 } })).toEqual({ 'daemon.access': 'warning' })
    expect(judge({ file: 'none', access: null, answer: null })).toEqual({})
    expect(bad(checkDaemon(notSeen, '/run/x', []))).toEqual({ 'daemon.socket': 'unknown' })
  })
  it('is not asked where there is no socket', async () => {
    const ask = async () => {
      throw new Error('asked')
    }
    expect(await lookAtDaemon('/proc/nothing', 1000, ask)).toMatchObject({ file: 'none', answer: null })
    expect(await lookAtDaemon('/proc/version', 1000, ask)).toMatchObject({ file: 'other', answer: null })
  })
})

describe('leases', () => {
  const status = { pid: 7, version: '1.0.0', leases: 1, counters: {} }
  const lease = {
    network: 'net',
    containerId: 'c',
    ifName: 'eth0',
    netns: '/x',
    version: 4,
    state: 'BOUND',
    address: '10.0.0.2/24',
    namespace: 'there',
  } as const
  const fine: KeeperFacts = {
    socket: '/s',
    networks: ['net'],
    standalone: [],
    answer: seen({ status, leases: [lease] }),
  }
  const judge = (more: Partial<KeeperFacts>) => bad(checkKeepers(seen([{ ...fine, ...more }])))

  it('are kept', () => {
    expect(judge({})).toEqual({})
    expect(judge({ answer: seen({ status, leases: null }) })).toEqual({})
    expect(judge({ networks: [], answer: null })).toEqual({})
  })
  it('are kept by nobody', () => {
    for (const answer of [null, notSeen]) {
      expect(judge({ answer })).toEqual({ 'dhcp.keeper./s': 'failure' })
      expect(judge({ answer, standalone: ['net'] })).toEqual({ 'dhcp.keeper./s': 'warning' })
    }
    expect(judge({ answer: notSeen, networks: [] })).toEqual({ 'dhcp.keeper./s': 'warning' })
    expect(judge({ answer: forbidden })).toEqual({ 'dhcp.keeper./s': 'unknown' })
    expect(bad(checkKeepers(notSeen))).toEqual({ 'dhcp.keeper': 'unknown' })
  })
  it('are of nobody, or without an address', () => {
    const { address: _, ...bare } = lease
    const leases = [{ ...lease, namespace: 'gone' } as const, { ...bare, state: 'INIT' }]
    expect(judge({ answer: seen({ status, leases }) })).toEqual({
      'dhcp.gone./s': 'warning',
      'dhcp.state./s': 'warning',
    })
  })
})

describe('left behind', () => {
  const attachment: AttachmentFacts = {
    network: 'net',
    containerId: 'c',
    ifName: 'eth0',
    netnsPath: '/x',
    namespace: 'there',
    families: [4],
  }
  const mark = (containerId: string, network = 'net') =>
    masqueradeComment({ network, containerId, ifName: 'eth0' }).slice(0, 33)
  const nothing: LeftBehind = {
    cache: seen({ attachments: [attachment], unreadable: [] }),
    links: seen([]),
    rules: seen([]),
    reservations: seen([]),
  }
  const networks = new Set(['net', 'old'])
  const find = (more: Partial<LeftBehind>, only: readonly string[] = []) =>
    checkLeftBehind({ ...nothing, ...more }, networks, only)
  const judge = (more: Partial<LeftBehind>, only?: readonly string[]) => bad(find(more, only))
  const reservation = (containerId: string, ifName: string | null, network = 'net') => ({
    network,
    directory: '/d',
    address: '10.0.0.2',
    containerId,
    ifName,
  })
  const link = (containerId: string) => ({
    name: 'veth0',
    kind: 'veth',
    owner: { network: 'net', containerId, ifName: 'eth0' },
  })
  const rules = (...owners: RuleOwner[]) => seen(owners.map((owner) => ({ where: 'rule', owner })))

  it('is nothing of what the cache knows', () => {
    expect(
      judge({
        links: seen([link('c')]),
        reservations: seen([reservation('c', 'eth0'), reservation('c', null)]),
        rules: rules(
          { by: 'mark', mark: mark('c'), network: 'net' },
          { by: 'words', network: 'net', containerId: 'c' },
          { by: 'chain', id: 'c-eth0' },
        ),
      }),
    ).toEqual({})
  })
  it('is an attachment without its namespace', () => {
    const cache = (more: Partial<CacheFacts>) => seen({ attachments: [attachment], unreadable: [], ...more })
    const gone = cache({ attachments: [{ ...attachment, namespace: 'gone' }] })
    expect(judge({ cache: gone })).toEqual({ 'orphan.attachment.net': 'warning' })
    expect(judge({ cache: gone }, ['old'])).toEqual({})
    expect(judge({ cache: cache({ attachments: [{ ...attachment, namespace: 'unknown' }] }) })).toEqual({})
  })
  it('is perhaps what a file of the cache stands for that can not be read', () => {
    const unreadable = ['a', 'b', 'c'].map((name) => ({ path: `/results/${name}`, why: 'it holds no JSON' }))
    const tell = (files: CacheFacts['unreadable']) =>
      find({ cache: seen({ attachments: [attachment], unreadable: files }) }).find(
        ({ id }) => id === 'orphan.cache',
      )
    expect(tell([])).toBeUndefined()
    expect(tell(unreadable.slice(0, 1))).toMatchObject({
      severity: 'warning',
      message: '/results/a can not be read as an attachment: it holds no JSON',
      facts: { count: 1, first: [{ path: '/results/a', why: 'it holds no JSON' }] },
    })
    expect(tell(unreadable)).toMatchObject({
      message: expect.stringMatching(/, and 2 others$/),
      facts: { count: 3 },
    })
  })
  it('is a reservation, a link, a rule of nobody', () => {
    for (const one of [reservation('d', 'eth0'), reservation('c', 'net1'), reservation('d', null)])
      expect(judge({ reservations: seen([one]) })).toEqual({ 'orphan.reservation.net': 'warning' })
    expect(judge({ links: seen([link('d')]) })).toEqual({ 'orphan.link.net': 'warning' })
    expect(judge({ links: seen([{ name: 'veth0', kind: 'veth', owner: null }]) })).toEqual({
      'orphan.link.unknown-network': 'warning',
    })
    expect(judge({ rules: rules({ by: 'mark', mark: mark('d'), network: null }) })).toEqual({
      'orphan.rule.net': 'warning',
    })
    expect(judge({ rules: rules({ by: 'mark', mark: mark('d', 'x'), network: 'x' }) })).toEqual({
      'orphan.rule.x': 'warning',
    })
    expect(judge({ rules: rules({ by: 'words', network: 'net', containerId: 'd' }) })).toEqual({
      'orphan.rule.net': 'warning',
    })
    expect(judge({ rules: rules({ by: 'chain', id: 'd-eth0' }) })).toEqual({
      'orphan.rule.unknown-network': 'warning',
    })
  })
  it('is taken away with the configuration that there is', () => {
    const advice = (network: string, cache: LeftBehind['cache'] = nothing.cache) =>
      find({ cache, reservations: seen([reservation('d', 'eth0', network)]) }).find(
        ({ severity }) => severity === 'warning',
      )?.advice
    expect(advice('net')).toBe('linkwright gc net --keep-live removes what nobody uses')
    expect(advice('lost')).toContain('linkwright gc FILE')
    expect(advice('net', seen(null))).toContain('--cache-dir')
  })
  it('can not be told without a look', () => {
    expect(judge({ links: notSeen, rules: notSeen, reservations: notSeen })).toEqual({
      'orphan.link': 'unknown',
      'orphan.rule': 'unknown',
      'orphan.reservation': 'unknown',
    })
    expect(judge({ cache: notSeen })).toEqual({ 'orphan.attachment': 'unknown' })
  })
})

describe('report', () => {
  const findings = [
    warning('limits.files', 'many\x1b[2J files', { advice: 'close\nsome' }),
    ok('kernel.link.veth', 'links of kind veth'),
    failure('kernel.link.vrf', 'no vrf', { facts: { module: 'vrf' } }),
    unknown('orphan.rule', 'rules'),
  ]
  it('is grouped, and plain where it is not for a terminal', () => {
    expect(printReport(findings, false)).toBe(`Kernel
  ok       links of kind veth
  failure  no vrf

Limits
  warning  many [2J files
             close some

Left behind
  unknown  rules

1 failure, 1 warning, 1 ok, 1 unknown
`)
    expect(printReport(findings, true)).toContain('\x1b[31mfailure\x1b[0m  no vrf')
  })
  it('is JSON for programs', () => {
    const json = JSON.parse(printFindings(findings))
    expect(json).toMatchObject({ healthy: false, summary: { ok: 1, unknown: 1, warning: 1, failure: 1 } })
    expect(json.findings[2]).toEqual({
      id: 'kernel.link.vrf',
      severity: 'failure',
      message: 'no vrf',
      facts: { module: 'vrf' },
    })
    expect(JSON.parse(printFindings([])).healthy).toBe(true)
  })
})
