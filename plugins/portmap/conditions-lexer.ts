/** The words of a line for nft, as far as conditions need them. */

/** A word, with what it was written as. */
export interface Token {
  /** What it means: text, or one of `{ } , & == !=`. */
  readonly text: string
  /** Written with quotes: never an operator. */
  readonly quoted: boolean
}

const pattern = /\s*(?:"([^"]*)"|(==|!=|[{},&])|([^\s"{},&=!]+)|(\S))/gy

/**
 * Takes a line apart.
 * @returns undefined instead of a token where something can't be one
 */
export const tokensOf = (line: string): { readonly tokens: readonly Token[]; readonly rest: string } => {
  const tokens: Token[] = []
  const text = line.trim()
  let at = 0
  while (at < text.length) {
    pattern.lastIndex = at
    const found = pattern.exec(text)
    if (!found || found[4] !== undefined) return { tokens, rest: text.slice(at).trim() }
    at = pattern.lastIndex
    const [, quoted, operator, word] = found
    tokens.push({ text: quoted ?? operator ?? word ?? '', quoted: quoted !== undefined })
  }
  return { tokens, rest: '' }
}

/** The tokens as one line: the same for the same tokens, however they were spaced. */
export const lineOf = (tokens: readonly Token[]): string =>
  tokens.map(({ text, quoted }) => (quoted ? `"${text}"` : text)).join(' ')
