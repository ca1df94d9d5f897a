/** Results as tables of a page in Markdown. */
import { type PrintedRow, type Results, short } from './report.ts'
import type { Stats } from './stats.ts'

/** The median, and the 95th percentile where there is one. */
const spread = ({ median, p95, runs }: Stats, unit: string): string =>
  `${short(median)}${runs > 1 ? ` (${short(p95)})` : ''} ${unit}`

/** What is promised of the ratio, of ours alone, or of both, and whether it is kept. */
const promise = ({ target, limit, unit = 'ms', kept }: PrintedRow): string => {
  const promises = [
    ...(target === undefined ? [] : [`≤ ${target}`]),
    ...(limit === undefined ? [] : [`≤ ${limit} ${unit}`]),
  ]
  return promises.length === 0 ? '' : `${promises.join(', ')}: ${kept ? 'kept' : '**missed**'}`
}

const line = (row: PrintedRow): string => {
  const { unit = 'ms', ours, peer, theirs, ratio } = row
  const cells = [row.case, spread(ours, unit), peer, spread(theirs, unit), short(ratio), promise(row)]
  return `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`
}

const table = (rows: readonly PrintedRow[]): string[] =>
  rows.length === 0
    ? ['Not measured.']
    : ['| | ours | compared with | theirs | ratio | target |', '|---|--:|---|--:|--:|---|', ...rows.map(line)]

const circumstances = ({ date, machine }: Results): string[] => {
  const { cpu, cores, memoryMiB, kernel, node, program, peers, load } = machine
  const [before, after] = load.map((value) => value.toFixed(1))
  return [
    `- ${date.slice(0, 10)}; ${cpu}, ${cores} cores, ${memoryMiB} MiB; Linux ${kernel}; load ${before} before, ${after} after.`,
    // Reports of earlier days do not say it.
    `- In process: Node ${node}.${program ? ` Executed: the ${program.kind}, Node ${program.version}.` : ''}`,
    `- Peers: ${peers.join(', ') || 'none'}.`,
  ]
}

/**
 * Fills what is between `<!-- bench NAME -->` and `<!-- end -->`: with the rows of the group NAME, with the notes
 * (`notes`), or with what all depends on (`machine`).
 * @param text of the page
 */
export const fillTables = (text: string, results: Results): string =>
  text.replace(/(<!-- bench ([a-z-]+) -->\n)[\s\S]*?(<!-- end -->)/g, (_, start, name: string, end) => {
    const special: Readonly<Record<string, string[]>> = {
      machine: circumstances(results),
      notes: results.notes.map((note) => `- ${note}`),
    }
    const lines = special[name] ?? table(results.rows.filter(({ group }) => group === name))
    return `${start}${lines.join('\n')}\n${end}`
  })
