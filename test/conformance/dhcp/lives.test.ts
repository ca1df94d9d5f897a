/** The table of docs/dhcp.md, as far as it can be played within seconds. */
import { expect, test } from 'vitest'
import { isNew } from '../bridge/sides.ts'
import { type Facts, lives } from './lives.ts'
import { dhcpSide, patient } from './sides.ts'

interface Expected {
  readonly title: string
  readonly life: keyof typeof lives
  readonly ours: Facts
  /** Of Go's daemon of 2022. */
  readonly go: Facts
  /** Where that of 2025 differs. */
  readonly newer?: Facts
  /** More flags of both daemons. */
  readonly flags?: readonly string[]
}

const toAll = (type: string): string => `${type} 0.0.0.0 > 255.255.255.255, frame to all`
const unicast = (type: string): string => `${type} leased > 10.77.0.1, frame to one`

const expected: readonly Expected[] = [
  {
    title: 'a renewal, and a server that is gone for good',
    life: 'serverGone',
    ours: {
      renewal: [unicast('request')],
      withoutAnswer: [unicast('request'), toAll('request')],
      ...{ keepsAddress: false, isUp: true },
    },
    go: {
      renewal: [toAll('request')],
      withoutAnswer: [toAll('request'), toAll('discover')],
      ...{ keepsAddress: true, isUp: false },
    },
  },
  {
    title: 'a NAK, and another address',
    life: 'refused',
    ours: { asksAgain: false, addresses: ['10.77.0.41/24'] },
    // The server has leased .41 to it by now.
    go: { asksAgain: true, addresses: ['10.77.0.40/24'] },
  },
  {
    title: 'a daemon that ends, by SIGTERM and by SIGKILL, and is started again',
    life: 'daemonEnds',
    ours: { afterTerm: 'starts', afterKill: 'starts', lease: 'renewed', released: false, keepsAddress: true },
    go: {
      afterTerm: 'address already in use',
      afterKill: 'address already in use',
      ...{ lease: 'lapsed', released: false, keepsAddress: true },
    },
    newer: { afterTerm: 'starts' },
  },
  {
    title: 'CHECK where there is no lease',
    life: 'check',
    ours: { status: 1, asks: false },
    go: { status: 0, asks: true },
  },
  {
    title: 'two interfaces of a container, and whether their server takes the addresses back',
    life: 'twoInterfaces',
    ours: { addresses: 2, releases: [unicast('release')], takenBack: [true, true] },
    go: { addresses: 2, releases: [toAll('release')], takenBack: [true, true] },
    newer: { releases: ['release 0.0.0.0 > 10.77.0.1, frame to all'], takenBack: [false, false] },
  },
  {
    title: 'DEL of a bridge',
    life: 'bridged',
    ours: { releases: [unicast('release')] },
    go: { releases: [] },
  },
  {
    title: 'the flag -broadcast',
    life: 'broadcastFlag',
    flags: ['-broadcast'],
    ours: { broadcast: true },
    go: { broadcast: true },
    newer: { broadcast: false },
  },
  { title: 'DHCPv6', life: 'version6', ours: { versions: [6] }, go: { versions: [4] } },
  {
    title: 'malformed answers',
    life: 'malformed',
    ours: { succeeds: true, survives: true },
    // The first of them, a packet of one byte, is enough.
    go: { succeeds: false, survives: false },
    newer: { succeeds: true, survives: true },
  },
]

/** Go's counts them for a renewal too, and would go on long after the lease has ended. */
const short = ['-timeout', '500ms', '-resendmax', '1s', '-resendtimeout', '3s']

test.each(expected)('$title', { timeout: 120_000 }, async ({ life, flags = [], ours, go, newer }) => {
  const sides = await Promise.all([
    dhcpSide('ours', { flags: [...patient, ...flags] }),
    dhcpSide('go', { flags: [...short, ...flags] }),
  ])
  const [own, theirs] = await Promise.all(sides.map((side) => lives[life](side)))
  expect(own).toEqual(ours)
  expect(theirs).toEqual({ ...go, ...(isNew ? newer : {}) })
})
