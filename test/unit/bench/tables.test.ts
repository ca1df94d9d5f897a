import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import { asJson, type Report, type Results } from '../../../bench/report.ts'
import type { Row } from '../../../bench/row.ts'
import { stats } from '../../../bench/stats.ts'
import { fillTables } from '../../../bench/tables.ts'

const read = (path: string): string =>
  readFileSync(fileURLToPath(new URL(`../../../${path}`, import.meta.url)), 'utf8')

const add: Row = {
  group: 'daemon',
  case: 'ADD a|b',
  ours: stats([3, 1, 2]),
  peer: 'Go, executed',
  theirs: stats([200, 200]),
  target: 0.33,
}
const memory: Row = {
  group: 'daemon',
  unit: 'MiB',
  case: 'RSS idle',
  ours: stats([61]),
  peer: 'nothing',
  theirs: stats([40]),
  limit: 60,
}
const report: Report = {
  date: '2026-01-02T03:04:05.000Z',
  quick: false,
  machine: {
    ...{ kernel: '6.1', cpu: 'cpu', cores: 2, memoryMiB: 512, node: 'v20', peers: ['plugin v1'] },
    load: [0, 1.25],
    program: { kind: 'archive', version: 'v24' },
  },
  rows: [add, memory, { ...add, group: 'chain', target: undefined }],
  notes: ['one', 'two'],
}
const results = JSON.parse(asJson(report)) as Results
const block = (name: string, content = 'old\n'): string => `<!-- bench ${name} -->\n${content}<!-- end -->\n`

describe('the tables of a page', () => {
  it('have the rows of their group: median, percentile, unit, ratio, and what is promised', () => {
    expect(fillTables(`before\n${block('daemon')}after\n`, results)).toBe(
      `before\n${block(
        'daemon',
        [
          '| | ours | compared with | theirs | ratio | target |',
          '|---|--:|---|--:|--:|---|',
          '| ADD a\\|b | 2.00 (2.90) ms | Go, executed | 200 (200) ms | 0.010 | ≤ 0.33: kept |',
          '| RSS idle | 61.0 MiB | nothing | 40.0 MiB | 1.52 | ≤ 60 MiB: **missed** |',
          '',
        ].join('\n'),
      )}after\n`,
    )
    expect(fillTables(block('chain'), results)).toMatch(/ 0\.010 \| {2}\|\n<!-- end -->/)
  })

  it('say where nothing was measured, on what, and what there is to note', () => {
    expect(fillTables(block('dhcp'), results)).toBe(block('dhcp', 'Not measured.\n'))
    expect(fillTables(block('notes'), results)).toBe(block('notes', '- one\n- two\n'))
    const machine = fillTables(block('machine'), results)
    expect(machine).toContain('- 2026-01-02; cpu, 2 cores, 512 MiB; Linux 6.1; load 0.0 before, 1.3 after.')
    expect(machine).toContain('- In process: Node v20. Executed: the archive, Node v24.')
    expect(machine).toContain('- Peers: plugin v1.')
  })

  it('are found when they are empty, and written twice are the same', () => {
    const once = fillTables(block('daemon', '') + block('notes', ''), results)
    expect(once).toContain('| RSS idle |')
    expect(fillTables(once, results)).toBe(once)
  })
})

describe('docs/performance.md', () => {
  const page = read('docs/performance.md')

  it('says what bench/results.json says', () => {
    expect(fillTables(page, JSON.parse(read('bench/results.json')) as Results)).toBe(page)
  })

  it('has a table for every part of the bench', () => {
    const [, parts] = /^const groups = \[(.*)\]$/m.exec(read('scripts/bench.mjs'))!
    const names = parts!.split(', ').map((quoted) => quoted.slice(1, -1))
    expect(names.length).toBeGreaterThan(5)
    expect(names.filter((name) => !page.includes(`<!-- bench ${name} -->`))).toEqual([])
  })
})
