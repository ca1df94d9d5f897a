/** Configurations: parsed along a plugin's schema, with Go's JSON rules and errors that name the key. */
import * as z from 'zod/mini'
import { CniError, codes } from './error.ts'
import { definitionOf, foldKeys, isObject } from './fold.ts'

export * from './fields.ts'

type Schema = z.core.$ZodType
type Issue = z.core.$ZodIssue

/** What zod says where nobody gave a text. */
const NO_TEXT = 'Invalid input'

const names: Readonly<Record<string, string>> = {
  int: 'integer',
  record: 'object',
  nonoptional: 'a value',
}

const show = (value: unknown): string => {
  if (value === undefined) return 'nothing'
  if (value === null) return 'null'
  if (Array.isArray(value)) return 'array'
  if (typeof value === 'object') return 'object'
  const json = JSON.stringify(value)
  return `${typeof value} ${json.length > 80 ? `${json.slice(0, 80)}…` : json}`
}

/** In a few words, what would have been right. */
const expected = (issue: Issue): string => {
  if (issue.message !== NO_TEXT) return issue.message
  switch (issue.code) {
    case 'invalid_type':
      return names[issue.expected] ?? issue.expected
    case 'too_small':
      return `${names[issue.origin] ?? issue.origin} of at least ${issue.minimum}`
    case 'too_big':
      return `${names[issue.origin] ?? issue.origin} of at most ${issue.maximum}`
    case 'invalid_value':
      return `${issue.values.length > 1 ? 'one of ' : ''}${issue.values.map((value) => JSON.stringify(value)).join(', ')}`
    case 'invalid_union':
      return issue.errors.map(([first]) => (first ? expected(first) : 'something else')).join(' or ')
    case 'invalid_format':
      return issue.format
    case 'unrecognized_keys':
      return `no such keys as ${issue.keys.join(', ')}`
    default:
      return 'something else'
  }
}

const at = (value: unknown, path: readonly PropertyKey[]): unknown =>
  path.reduce<unknown>((inner, key) => (inner as Record<PropertyKey, unknown> | undefined)?.[key], value)

const keyOf = (path: readonly PropertyKey[]): string =>
  path
    .map((key) => (typeof key === 'number' ? `[${key}]` : `.${String(key)}`))
    .join('')
    .replace(/^\./, '')

/** Whether the text of an issue was given by {@link rule}, to be used as it stands. */
const isVerbatim = (issue: Issue): boolean => issue.code === 'custom' && issue.params?.verbatim === true

/** One issue in words. `root` is the whole configuration. */
const describe = (issue: Issue, root: unknown): string => {
  if (isVerbatim(issue)) return issue.message
  const value = at(root, issue.path)
  const wrong =
    value === undefined
      ? `missing, expected ${expected(issue)}`
      : `expected ${expected(issue)}, got ${show(value)}`
  return issue.path.length > 0 ? `${keyOf(issue.path)}: ${wrong}` : wrong
}

/** The one place where zod's issues become a CNI error. */
const toCniError = (issues: readonly Issue[], root: unknown, subject: string): CniError => {
  const first = issues[0]!
  const [msg, ...others] = issues.map((issue) => describe(issue, root))
  const key = keyOf(first.path)
  return new CniError({
    code: codes.invalidConfig,
    msg: isVerbatim(first)
      ? first.message
      : `failed to load netconf: ${subject}${first.path.length > 0 ? '.' : ': '}${msg}`,
    details: [
      ...(key === '' ? [] : [`key ${key}${isVerbatim(first) ? '' : ` takes: ${expected(first)}`}`]),
      ...others,
    ].join('; '),
  })
}

/**
 * Reads a configuration, or any other JSON from outside.
 * @param subject what it belongs to, for the error: the plugin's type
 * @throws CniError code 7: `failed to load netconf: bridge.mtu: expected integer, got string "1500"`
 */
export const parseConf = <S extends Schema>(schema: S, raw: unknown, subject: string): z.infer<S> => {
  const folded = foldKeys(schema, raw)
  const parsed = z.safeParse(schema, folded)
  if (parsed.success) return parsed.data as z.infer<S>
  throw toCniError(parsed.error.issues, folded, subject)
}

/** The value of a type that Go would leave in a field that is not there. */
const zero = (schema: Schema): unknown => {
  const { type, shape, innerType } = definitionOf(schema)
  switch (type) {
    case 'string':
      return ''
    case 'number':
    case 'int':
      return 0
    case 'boolean':
      return false
    case 'array':
      return []
    case 'record':
      return {}
    case 'object':
      return Object.fromEntries(Object.entries(shape ?? {}).map(([key, inner]) => [key, fallback(inner)]))
    default:
      return innerType ? zero(innerType) : undefined
  }
}

const fallback = (schema: Schema): unknown => {
  const absent = z.safeParse(schema, undefined)
  return absent.success ? absent.data : zero(schema)
}

const isContainer = (schema: Schema): boolean => {
  const { type, innerType } = definitionOf(schema)
  return type === 'object' || type === 'array' || (innerType !== undefined && isContainer(innerType))
}

/** Keeps what validates of one configuration, key by key; the rest takes its default. */
class Salvage {
  readonly warnings: string[] = []
  readonly #root: unknown

  constructor(root: unknown) {
    this.#root = root
  }

  keep(schema: Schema, value: unknown, path: readonly PropertyKey[]): unknown {
    const parsed = z.safeParse(schema, value)
    if (parsed.success) return parsed.data
    const { issues } = parsed.error
    const { type, shape, catchall, element, innerType } = definitionOf(schema)
    if (type === 'object' && shape && isObject(value)) {
      const result: Record<string, unknown> = {}
      for (const key in shape) {
        const kept = this.keep(shape[key]!, value[key], [...path, key])
        if (kept !== undefined) result[key] = kept
      }
      if (catchall) for (const key in value) if (!(key in shape)) result[key] = value[key]
      this.#warn(
        issues.filter((issue) => issue.code === 'custom' && issue.path.length === 0),
        path,
      )
      return result
    }
    if (type === 'array' && element && Array.isArray(value))
      return value.flatMap((item, i) => {
        const parsed = z.safeParse(element, item)
        if (parsed.success) return [parsed.data]
        this.#warn(parsed.error.issues, [...path, i])
        return []
      })
    if (innerType && value !== undefined && isContainer(innerType)) return this.keep(innerType, value, path)
    this.#warn(issues, path)
    return fallback(schema)
  }

  #warn(issues: readonly Issue[], path: readonly PropertyKey[]): void {
    for (const issue of issues)
      this.warnings.push(describe({ ...issue, path: [...path, ...issue.path] }, this.#root))
  }
}

/** A configuration read for DEL or GC, and what was wrong with it. */
export interface Lenient<T> {
  readonly conf: T
  readonly warnings: readonly string[]
}

/**
 * Reads a configuration for DEL and GC, which must remove what an ADD made whatever became of the configuration
 * since: a key that does not validate has its default (or the empty value of its type), a list loses the elements
 * that do not. Never throws.
 */
export const parseConfLenient = <S extends Schema>(schema: S, raw: unknown): Lenient<z.infer<S>> => {
  const folded = foldKeys(schema, isObject(raw) ? raw : {})
  const salvage = new Salvage(folded)
  return { conf: salvage.keep(schema, folded, []) as z.infer<S>, warnings: salvage.warnings }
}
