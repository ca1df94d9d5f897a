/**
 * The YAML that the files in deploy/ are written in: blocks of mappings and sequences, plain and quoted scalars,
 * comments. Anything else is an error, so that nothing is read otherwise than by a whole parser.
 */

export type Yaml = string | number | boolean | null | Yaml[] | { [key: string]: Yaml }

interface Line {
  readonly number: number
  readonly indent: number
  readonly text: string
}

const linesOf = (text: string): Line[] =>
  text
    .split('\n')
    .map((line, i) => ({ number: i + 1, indent: line.length - line.trimStart().length, text: line.trim() }))
    .filter(({ text }) => text !== '' && !text.startsWith('#'))

const fail = ({ number, text }: Line, why: string): never => {
  throw new Error(`line ${number}: ${why}: ${text}`)
}

const scalar = (text: string, line: Line): Yaml => {
  const quoted = /^"([^"\\]*)"$|^'([^']*)'$/.exec(text)
  if (quoted) return quoted[1] ?? quoted[2] ?? ''
  if (/^[[\]{}&*!|>%@`"',?]|: |^- | #/.test(text)) return fail(line, 'not in this subset')
  if (/^(true|false)$/.test(text)) return text === 'true'
  if (/^(null|~)$/.test(text)) return null
  // What YAML 1.1 takes for something else must be quoted.
  if (/^(yes|no|on|off|y|n)$/i.test(text)) return fail(line, 'ambiguous')
  return /^-?\d+$/.test(text) ? Number(text) : text
}

const KEY = /^([A-Za-z][\w./-]*):(?: (.*))?$/

class Reader {
  readonly #lines: Line[]
  #at = 0

  constructor(lines: Line[]) {
    this.#lines = lines
  }

  get next(): Line | undefined {
    return this.#lines[this.#at]
  }

  /** A block at this indentation. */
  block(indent: number): Yaml {
    const first = this.next!
    return first.text.startsWith('- ') ? this.#sequence(indent) : this.#mapping(indent)
  }

  #sequence(indent: number): Yaml[] {
    const items: Yaml[] = []
    for (let line = this.next; line?.indent === indent && line.text.startsWith('- '); line = this.next) {
      const text = line.text.slice(2)
      if (KEY.test(text)) {
        // The mapping begins behind the dash.
        this.#lines[this.#at] = { ...line, indent: indent + 2, text }
        items.push(this.#mapping(indent + 2))
      } else {
        items.push(scalar(text, line))
        this.#at++
      }
    }
    return items
  }

  #mapping(indent: number): Yaml {
    const map: { [key: string]: Yaml } = {}
    for (let line = this.next; line && line.indent === indent; line = this.next) {
      const [, key = '', value] = KEY.exec(line.text) ?? fail(line, 'no key')
      if (Object.hasOwn(map, key)) fail(line, 'twice')
      this.#at++
      const inner = this.next
      if (value !== undefined) map[key] = scalar(value, line)
      else if (inner && inner.indent > indent) map[key] = this.block(inner.indent)
      else map[key] = null
    }
    const line = this.next
    if (line && line.indent > indent) fail(line, 'indented otherwise')
    return map
  }
}

/** Reads one document. @throws Error with the line */
export const parseYaml = (text: string): Yaml => {
  const reader = new Reader(linesOf(text))
  const value = reader.block(0)
  if (reader.next) fail(reader.next, 'not expected')
  return value
}
