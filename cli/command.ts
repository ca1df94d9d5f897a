/** Commands as typed objects over `node:util.parseArgs`: what a command takes, its help, and what it does. */
import { parseArgs } from 'node:util'

/** One option of a command. */
export interface Option {
  readonly type: 'string' | 'boolean'
  /** One letter. */
  readonly short?: string
  /** May be given more than once. */
  readonly multiple?: boolean
  /** For the help: what it does, with its default. */
  readonly help: string
  /** For the help: what its value is, e.g. `NAME`. */
  readonly value?: string
}

export type Options = Readonly<Record<string, Option>>

type Value<O extends Option> = O['type'] extends 'boolean' ? boolean : string
type Values<O extends Options> = {
  readonly [K in keyof O]?: O[K] extends { multiple: true } ? Value<O[K]>[] : Value<O[K]>
}

/** Where a command writes. */
export interface Output {
  out(text: string): void
  err(text: string): void
}

export interface Command<O extends Options = Options> {
  readonly name: string
  /** One line for the list of commands. */
  readonly summary: string
  /** E.g. `NETWORK NETNS`; a name in brackets may be left out. */
  readonly positionals: string
  /** More than the summary says. */
  readonly description?: string
  readonly options: O
  /** @returns the exit status: 0, or 1 for a failure. @throws UsageError for wrong arguments */
  run(values: Values<O>, positionals: readonly string[], output: Output): Promise<number>
}

/** Wrong arguments: exit status 2. */
export class UsageError extends Error {
  override readonly name = 'UsageError'
}

/** Declares a command; the types of its values follow from its options. */
export const defineCommand = <const O extends Options>(command: Command<O>): Command<O> => command

/** Columns of help. */
const COLUMNS = 110

/** Breaks words into lines. */
const wrapped = (text: string, columns: number): string[] => {
  const lines: string[] = []
  for (const word of text.split(' ')) {
    const last = lines.at(-1)
    if (last !== undefined && last.length + 1 + word.length <= columns) lines.push(`${lines.pop()} ${word}`)
    else lines.push(word)
  }
  return lines
}

/** Paragraphs with lines of their own length. */
const paragraphs = (text: string): string =>
  text
    .split('\n\n')
    .map((paragraph) => wrapped(paragraph.replaceAll('\n', ' '), COLUMNS).join('\n'))
    .join('\n\n')

/** The text of `--help`. */
export const helpOf = ({ name, summary, positionals, description, options }: Command): string => {
  const rows = [
    ...Object.entries(options).map(([key, { value, help, short }]) => [
      `${short ? `-${short}, ` : ''}--${key}${value ? ` ${value}` : ''}`,
      help,
    ]),
    ['-h, --help', 'show this'],
  ]
  const width = Math.max(...rows.map(([left = '']) => left.length))
  return [
    `${summary[0]!.toUpperCase()}${summary.slice(1)}.`,
    '',
    `Usage: ${['linkwright', name, positionals, '[options]'].filter((word) => word !== '').join(' ')}`,
    ...(description ? ['', paragraphs(description)] : []),
    '',
    'Options:',
    ...rows.flatMap(([left = '', right = '']) =>
      wrapped(right, COLUMNS - width - 4).map(
        (line, i) => `  ${(i === 0 ? left : '').padEnd(width)}  ${line}`,
      ),
    ),
    '',
  ].join('\n')
}

/** Runs a command with its arguments. @returns the exit status: 0, 1, or 2 for wrong arguments */
export const runCommand = async (command: Command, args: string[], output: Output): Promise<number> => {
  const required = command.positionals.split(' ').filter((name) => name !== '' && !name.startsWith('['))
  const allowed = command.positionals.split(' ').filter((name) => name !== '')
  try {
    const { values, positionals } = parseArgs({
      args,
      options: { ...command.options, help: { type: 'boolean', short: 'h' } },
      allowPositionals: true,
    })
    if (values.help === true) {
      output.out(helpOf(command))
      return 0
    }
    if (positionals.length < required.length)
      throw new UsageError(`${required[positionals.length]} is missing`)
    if (positionals.length > allowed.length)
      throw new UsageError(`too many arguments: ${positionals.slice(allowed.length).join(' ')}`)
    return await command.run(values as Values<Options>, positionals, output)
  } catch (error) {
    const wrong =
      error instanceof UsageError ||
      (error instanceof TypeError && 'code' in error && String(error.code).startsWith('ERR_PARSE_ARGS'))
    if (!wrong) throw error
    output.err(`linkwright ${command.name}: ${error.message}\nTry: linkwright ${command.name} --help\n`)
    return 2
  }
}
