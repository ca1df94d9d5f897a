/**
 * Regular expressions as Go writes them (RE2, https://github.com/google/re2/wiki/Syntax), made into JavaScript's. What
 * the two read differently is translated; what JavaScript can not do, or Go does not know (look-around, back-references),
 * is an error and never taken for something else: the expressions say what is allowed.
 */

/** POSIX classes, as ranges of characters. */
const posix: Readonly<Record<string, string>> = {
  alnum: '0-9A-Za-z',
  alpha: 'A-Za-z',
  ascii: '\\x00-\\x7F',
  blank: '\\t ',
  cntrl: '\\x00-\\x1F\\x7F',
  digit: '0-9',
  graph: '!-~',
  lower: 'a-z',
  print: ' -~',
  punct: '!-\\/:-@\\[-`\\{-~',
  space: '\\t\\n\\v\\f\\r ',
  upper: 'A-Z',
  word: '0-9A-Za-z_',
  xdigit: '0-9A-Fa-f',
}

/** What stands for characters that can not be written. */
const controls: Readonly<Record<string, string>> = {
  a: '\x07',
  f: '\f',
  t: '\t',
  n: '\n',
  r: '\r',
  v: '\v',
}

const literal = (character: string): string => `\\u{${character.codePointAt(0)!.toString(16)}}`

class Translator {
  readonly #text: string
  #at = 0

  constructor(text: string) {
    this.#text = text
  }

  /** What matches here, which is then behind us. */
  #take(pattern: RegExp): RegExpExecArray | null {
    const sticky = new RegExp(pattern.source, 'uy')
    sticky.lastIndex = this.#at
    const found = sticky.exec(this.#text)
    if (found) this.#at = sticky.lastIndex
    return found
  }

  /** One character, which there has to be. */
  #next(): string {
    const [character] = this.#take(/[\s\S]/) ?? []
    if (character === undefined) throw new SyntaxError('it ends too early')
    return character
  }

  /** The character of an escape whose backslash has been read. */
  #escaped(): string {
    const hex = this.#take(/x(?:\{([0-9A-Fa-f]{1,6})\}|([0-9A-Fa-f]{2}))/)
    if (hex) {
      const code = Number.parseInt(hex[1] ?? hex[2]!, 16)
      if (code > 0x10ffff) throw new SyntaxError(`there is no character \\${hex[0]}`)
      return String.fromCodePoint(code)
    }
    const character = this.#next()
    const control = controls[character]
    if (control !== undefined) return control
    if (/[0-9A-Za-z]|[^\0-\x7f]/.test(character)) throw new SyntaxError(`\\${character} is not supported`)
    return character
  }

  /** A class whose `[` has been read. */
  #class(): string {
    let result = this.#take(/\^/) ? '[^' : '['
    for (let first = true; first || !this.#take(/\]/); first = false) {
      const named = this.#take(/\[:(\^?)(\w+):\]/)
      if (named) {
        const ranges = posix[named[2]!]
        if (named[1] !== '' || ranges === undefined) throw new SyntaxError(`${named[0]} is not supported`)
        result += ranges
        continue
      }
      const kind = this.#take(/\\[dDwWsS]/)
      if (kind) {
        result += kind[0]
        continue
      }
      result += literal(this.#member())
      if (this.#take(/-(?!\])/)) result += `-${literal(this.#member())}`
    }
    return `${result}]`
  }

  #member(): string {
    const character = this.#next()
    return character === '\\' ? this.#escaped() : character
  }

  /** A group whose `(` has been read. */
  #group(): string {
    if (!this.#take(/\?/)) return '('
    const named = this.#take(/P?<(\w+)>/)
    if (named) return `(?<${named[1]}>`
    if (this.#take(/:/)) return '(?:'
    throw new SyntaxError(
      'of groups with (? only (?:…), (?P<name>…), and (?i) at the beginning are supported',
    )
  }

  #backslash(): string {
    const [known] = this.#take(/[AzdDwWsSbBQ]/) ?? []
    switch (known) {
      case undefined:
        return literal(this.#escaped())
      case 'A':
        return '(?<![\\s\\S])'
      case 'z':
        return '(?![\\s\\S])'
      case 'Q': {
        const [, quoted = ''] = this.#take(/([\s\S]*?)(?:\\E|$)/) ?? []
        return [...quoted].map(literal).join('')
      }
      default:
        return `\\${known}`
    }
  }

  #piece(): string {
    const repeat = this.#take(/\{\d+(?:,\d*)?\}/)
    if (repeat) return repeat[0]
    const character = this.#next()
    switch (character) {
      case '\\':
        return this.#backslash()
      case '[':
        return this.#class()
      case '(':
        return this.#group()
      case '{':
      case '}':
      case ']':
        return literal(character)
      default:
        return character
    }
  }

  translate(): RegExp {
    const [, flags = ''] = this.#take(/\(\?([ims]+)\)/) ?? []
    let source = ''
    while (this.#at < this.#text.length) source += this.#piece()
    return new RegExp(source, [...new Set(`u${flags}`)].join(''))
  }
}

/** @throws SyntaxError for what is no expression, and for what is not supported */
export const goRegExp = (text: string): RegExp => new Translator(text).translate()
