/** Findings as text and as JSON. */
import { keeps, type Row, ratio } from './row.ts'
import type { Program } from './setting.ts'
import type { Stats } from './stats.ts'

/** What the figures depend on. */
export interface Machine {
  readonly kernel: string
  readonly cpu: string
  readonly cores: number
  readonly memoryMiB: number
  /** The Node of what is in process. */
  readonly node: string
  /** What is executed of ours, and which Node is in it or runs it. */
  readonly program: Pick<Program, 'kind' | 'version'>
  /** What each peer says of itself: `CNI bridge plugin v1.1.1`. */
  readonly peers: readonly string[]
  /** Of the last minute, before and after: others at work on the machine make the figures worse than they are. */
  readonly load: readonly [before: number, after: number]
}

export interface Report {
  readonly date: string
  /** Fewer runs: not for comparison. */
  readonly quick: boolean
  readonly machine: Machine
  readonly rows: readonly Row[]
  readonly notes: readonly string[]
}

/** Three digits that count; two of what is tiny. */
export const short = (value: number): string => {
  if (value >= 100) return value.toFixed(0)
  if (value >= 10) return value.toFixed(1)
  if (value >= 1) return value.toFixed(2)
  return value >= 0.01 || value === 0 ? value.toFixed(3) : value.toPrecision(2)
}

const figures = ({ median, p95, min }: Stats): string[] => [median, p95, min].map(short)

const verdict = (row: Row): string => {
  const kept = keeps(row)
  if (kept === null) return ''
  const { target, limit, unit = 'ms' } = row
  const promises = [
    ...(target === undefined ? [] : [`≤ ${target}`]),
    ...(limit === undefined ? [] : [`≤ ${limit} ${unit}`]),
  ]
  return `${promises.join(', ')} ${kept ? 'kept' : 'MISSED'}`
}

const heads = ['ours', 'p95', 'min', 'compared with', 'median', 'p95', 'min', 'ratio', 'target', 'runs']
/** Columns of words; the others are numbers. */
const words = new Set([0, 4, 9])

const cells = (row: Row): string[] => [
  row.case,
  ...figures(row.ours),
  row.peer,
  ...figures(row.theirs),
  short(ratio(row)),
  verdict(row),
  String(row.ours.runs),
]

const table = (unit: string, rows: readonly Row[]): string[] => {
  const lines = [[unit, ...heads], ...rows.map(cells)]
  const widths = lines[0]!.map((_, column) => Math.max(...lines.map((line) => line[column]!.length)))
  const print = (line: readonly string[]): string =>
    line
      .map((cell, column) =>
        words.has(column) ? cell.padEnd(widths[column]!) : cell.padStart(widths[column]!),
      )
      .join('  ')
      .trimEnd()
  const [head, ...rest] = lines.map(print)
  return [head!, '-'.repeat(head!.length), ...rest]
}

/** A table for each unit. */
const tables = (rows: readonly Row[]): string[] => {
  const units = [...new Set(rows.map(({ unit = 'ms' }) => unit))]
  return units.flatMap((own) => [
    ...table(
      own,
      rows.filter(({ unit = 'ms' }) => unit === own),
    ),
    '',
  ])
}

const executed = {
  archive: 'what npm run dist packs',
  scripts: 'the scripts of npm run build',
} as const satisfies Record<Program['kind'], string>

export const asText = ({ quick, machine, rows, notes }: Report): string => {
  const { kernel, cpu, cores, memoryMiB, node, program, peers, load } = machine
  const [before, after] = load.map((value) => value.toFixed(2))
  const facts = [
    `${cpu}, ${cores} cores, ${memoryMiB} MiB; Linux ${kernel}; load ${before} before, ${after} after`,
    `in process: Node ${node}; executed: ${executed[program.kind]}, Node ${program.version}`,
    peers.length > 0 ? `peers: ${peers.join(', ')}` : '',
    quick ? 'few runs (--quick): not for comparison' : '',
  ]
  const said = notes.map((note) => `- ${note}`)
  return [...tables(rows), ...said, ...facts.filter((fact) => fact !== '')].join('\n')
}

/** Milliseconds to the microsecond, and MiB to the KiB. */
const rounded = (stats: Stats): Stats => {
  const round = (value: number): number => Math.round(value * 1000) / 1000
  return {
    runs: stats.runs,
    median: round(stats.median),
    p95: round(stats.p95),
    min: round(stats.min),
  }
}

/** A row as bench/results.json has it. */
export type PrintedRow = Row & { readonly ratio: number; readonly kept?: boolean | undefined }

/** bench/results.json. */
export interface Results extends Omit<Report, 'rows'> {
  readonly rows: readonly PrintedRow[]
}

export const asJson = ({ rows, ...rest }: Report): string => {
  const printed = rows.map(
    (row): PrintedRow => ({
      ...row,
      ours: rounded(row.ours),
      theirs: rounded(row.theirs),
      ratio: Number(ratio(row).toPrecision(4)),
      kept: keeps(row) ?? undefined,
    }),
  )
  return `${JSON.stringify({ unit: 'ms', ...rest, rows: printed }, null, 2)}\n`
}
