/** The tables of docs/performance.md, written from bench/results.json. */
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { root } from './root.mjs'

const page = join(root, 'docs/performance.md')

/** Three digits that count. */
const short = (value) => {
  if (value >= 100) return value.toFixed(0)
  return value >= 10 ? value.toFixed(1) : value.toFixed(value >= 1 ? 2 : 3)
}

const spread = ({ median, p95, runs }) => (runs > 1 ? `${short(median)} (${short(p95)})` : short(median))

/** What is promised, and whether it is kept: of the ratio, of ours alone, or both. */
const promise = ({ target, limit, unit = 'ms', kept }) => {
  const promises = [
    ...(target === undefined ? [] : [`≤ ${target} ×`]),
    ...(limit === undefined ? [] : [`≤ ${limit} ${unit}`]),
  ]
  return promises.length === 0 ? '' : `${promises.join(', ')}: ${kept ? 'kept' : '**missed**'}`
}

const line = (cells) => `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`

const table = (rows) => [
  '| | ours | compared with | theirs | ratio | target |',
  '|---|--:|---|--:|--:|---|',
  ...rows.map((row) => {
    const unit = row.unit === undefined ? ' ms' : ` ${row.unit}`
    const ours = `${spread(row.ours)}${unit}`
    return line([row.case, ours, row.peer, `${spread(row.theirs)}${unit}`, short(row.ratio), promise(row)])
  }),
]

const machine = ({ date, machine: { cpu, cores, kernel, node, program, peers, load } }) => {
  const [before, after] = load.map((value) => value.toFixed(1))
  const executed = program ? `executed: the ${program.kind}, Node ${program.version}; ` : ''
  return [
    `${date.slice(0, 10)}, ${cpu}, ${cores} cores, Linux ${kernel}. ${executed}in process: Node ${node}.`,
    `Peers: ${peers.join(', ') || 'none'}. Load ${before} before, ${after} after.`,
  ].join(' ')
}

/**
 * Fills what is between `<!-- bench NAME -->` and `<!-- end -->` with the rows of the group NAME, with the notes, or
 * with what the figures depend on (`machine`, `notes`).
 * @param text of the page @param report as bench/results.json has it @returns the new text
 */
export const fillTables = (text, report) =>
  text.replace(/(<!-- bench ([a-z-]+) -->\n)[\s\S]*?(<!-- end -->)/g, (_, start, name, end) => {
    const lines =
      name === 'machine'
        ? [machine(report)]
        : name === 'notes'
          ? report.notes.map((note) => `- ${note}`)
          : table(report.rows.filter(({ group }) => group === name))
    return `${start}${lines.join('\n')}\n${end}`
  })

/** Writes the tables of docs/performance.md. @param results path of bench/results.json */
export const writeTables = (results) =>
  writeFileSync(page, fillTables(readFileSync(page, 'utf8'), JSON.parse(readFileSync(results, 'utf8'))))
