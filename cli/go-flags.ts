/** Command lines as Go's flag package reads them: `-name value`, `-name=value`, `--name`; a boolean takes only `=`. */

export type FlagKind = 'text' | 'boolean' | 'duration'

export interface Flag {
  readonly kind: FlagKind
  readonly help: string
}

type Value<F extends Flag> = F['kind'] extends 'boolean'
  ? boolean
  : F['kind'] extends 'duration'
    ? number
    : string
type Values<F extends Readonly<Record<string, Flag>>> = { readonly [K in keyof F]?: Value<F[K]> }

/** A wrong command line: what is wrong with it. */
export class FlagError extends Error {
  override readonly name = 'FlagError'
}

const units: Readonly<Record<string, number>> = {
  ns: 1e-6,
  us: 1e-3,
  µs: 1e-3,
  μs: 1e-3,
  ms: 1,
  s: 1e3,
  m: 6e4,
  h: 3.6e6,
}

/** Milliseconds of a duration as Go writes it: `10s`, `1m30s`, `500ms`, `0`. Null where it is none, or negative. */
export const parseDuration = (text: string): number | null => {
  if (text === '0') return 0
  if (!/^(\d+(\.\d*)?(ns|us|µs|μs|ms|s|m|h))+$/.test(text)) return null
  let sum = 0
  for (const [, number, unit] of text.matchAll(/(\d+(?:\.\d*)?)(ns|us|µs|μs|ms|s|m|h)/g))
    sum += Number(number) * units[unit!]!
  return sum
}

const parseBoolean = (text: string): boolean | null =>
  /^(1|t|true)$/i.test(text) ? true : /^(0|f|false)$/i.test(text) ? false : null

const parse = (name: string, { kind }: Flag, text: string): string | boolean | number => {
  const value = kind === 'text' ? text : kind === 'boolean' ? parseBoolean(text) : parseDuration(text)
  if (value === null) throw new FlagError(`-${name}: ${JSON.stringify(text)} is no ${kind}`)
  return value
}

/** @throws FlagError */
export const parseFlags = <const F extends Readonly<Record<string, Flag>>>(
  flags: F,
  args: readonly string[],
): Values<F> => {
  const values: Record<string, string | boolean | number> = {}
  const rest = [...args]
  for (let arg = rest.shift(); arg !== undefined; arg = rest.shift()) {
    const [, name, given] = /^--?([^-=][^=]*)(?:=(.*))?$/s.exec(arg) ?? []
    if (name === undefined) throw new FlagError(`unexpected argument ${JSON.stringify(arg)}`)
    const flag = Object.hasOwn(flags, name) ? flags[name] : undefined
    if (!flag) throw new FlagError(`flag provided but not defined: -${name}`)
    const text = given ?? (flag.kind === 'boolean' ? 'true' : rest.shift())
    if (text === undefined) throw new FlagError(`flag needs an argument: -${name}`)
    values[name] = parse(name, flag, text)
  }
  return values as Values<F>
}

/** What `-help` says of them. */
export const helpOfFlags = (flags: Readonly<Record<string, Flag>>): string =>
  Object.entries(flags)
    .map(([name, { kind, help }]) => `  -${name}${kind === 'boolean' ? '' : ` ${kind}`}\n        ${help}\n`)
    .join('')
