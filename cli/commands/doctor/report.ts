import { printJson } from '../../../cni/json.ts'
import { count, type Finding, type Severity } from './finding.ts'

/** Groups of findings by what their ids begin with, in the order of the report. */
const groups: Readonly<Record<string, string>> = {
  kernel: 'Kernel',
  filter: 'Packet filters',
  settings: 'Settings',
  limits: 'Limits',
  conf: 'Configurations',
  network: 'Networks',
  binary: 'Executables',
  daemon: 'Daemon',
  dhcp: 'DHCP',
  orphan: 'Left behind',
}

const words: Readonly<Record<Severity, string>> = {
  ok: 'ok',
  unknown: 'unknown',
  warning: 'warning',
  failure: 'failure',
}
/** SGR codes of ECMA-48: green, cyan, yellow, red. */
const colours: Readonly<Record<Severity, number>> = { ok: 32, unknown: 36, warning: 33, failure: 31 }

const WIDTH = Math.max(...Object.values(words).map((word) => word.length))

/** What files and rules hold may be anything; a terminal would obey it. */
const plain = (text: string): string => text.replace(/\p{Cc}+/gu, ' ').trim()

const lines = ({ severity, message, advice }: Finding, colour: boolean): string[] => {
  const word = words[severity].padEnd(WIDTH)
  const told = colour ? `\x1b[${colours[severity]}m${word}\x1b[0m` : word
  return [
    `  ${told}  ${plain(message)}`,
    ...(advice === undefined ? [] : [`  ${' '.repeat(WIDTH)}    ${plain(advice)}`]),
  ]
}

const groupOf = ({ id }: Finding): string => id.split('.')[0]!

/** How many there are of each severity. */
export const summaryOf = (findings: readonly Finding[]): Readonly<Record<Severity, number>> => {
  const summary = { ok: 0, unknown: 0, warning: 0, failure: 0 }
  for (const { severity } of findings) summary[severity]++
  return summary
}

/** The report for people. @param colour for a terminal */
export const printReport = (findings: readonly Finding[], colour: boolean): string => {
  const { ok, unknown, warning, failure } = summaryOf(findings)
  return [
    ...Object.entries(groups).flatMap(([key, title]) => {
      const own = findings.filter((finding) => groupOf(finding) === key)
      return own.length === 0 ? [] : [title, ...own.flatMap((finding) => lines(finding, colour)), '']
    }),
    `${count(failure, 'failure')}, ${count(warning, 'warning')}, ${ok} ok, ${unknown} unknown`,
    '',
  ].join('\n')
}

/** The report for programs. */
export const printFindings = (findings: readonly Finding[]): string =>
  `${printJson({
    healthy: summaryOf(findings).failure === 0,
    summary: { ...summaryOf(findings) },
    findings: findings.map(({ id, severity, message, advice, facts }) => ({
      id,
      severity,
      message,
      advice,
      facts,
    })),
  })}\n`
