/** JSON and quoted text as Go prints them, which those who compare bytes or match on messages rely on. */
import type { Json, JsonObject } from './types.ts'

const escapes: Readonly<Record<string, string>> = {
  '<': '\\u003c',
  '>': '\\u003e',
  '&': '\\u0026',
  '\u2028': '\\u2028',
  '\u2029': '\\u2029',
}

/** Compact, or indented by `indent` spaces, with Go's escapes for what HTML would mind. No newline at the end. */
export const printJson = (json: Json, indent = 4): string =>
  JSON.stringify(json, null, indent).replace(/[<>&\u2028\u2029]/g, (character) => escapes[character]!)

/** The same value with the keys of all its objects in order, as Go prints maps. */
export const sortKeys = <T extends Json | undefined>(json: T): T => {
  if (typeof json !== 'object' || json === null) return json
  if (Array.isArray(json)) return json.map((item: Json) => sortKeys(item)) as unknown as T
  const entries = Object.entries(json as JsonObject).map(([key, value]) => [key, sortKeys(value)] as const)
  return Object.fromEntries(entries.sort(([a], [b]) => (a < b ? -1 : 1))) as T
}

/** Like Go's `%q` of a text. */
export const goString = (text: string): string => JSON.stringify(text)

/** Like Go's `%q` of a list: `["a" "b"]`. */
export const goStrings = (texts: readonly string[]): string => `[${texts.map(goString).join(' ')}]`
