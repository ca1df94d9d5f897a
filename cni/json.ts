/** JSON and quoted text as Go prints them, which those who compare bytes or match on messages rely on. */
import type { Json } from './types.ts'

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

/** Like Go's `%q` of a text. */
export const goString = (text: string): string => JSON.stringify(text)

/** Like Go's `%q` of a list: `["a" "b"]`. */
export const goStrings = (texts: readonly string[]): string => `[${texts.map(goString).join(' ')}]`
