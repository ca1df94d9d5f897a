import { CniError, codes } from './error.ts'

/**
 * CNI_ARGS, read when a plugin asks for its keys: `K=V;K2=V2`. A pair that is not one, or a key nobody knows without
 * `IgnoreUnknown=1`, is an error on ADD and CHECK, as in the Go plugins; on DEL and GC such pairs are passed over,
 * because what an ADD made must be removable whatever CNI_ARGS says.
 */
export class CniArgs {
  /** As it came; foreign delegates get it unchanged. */
  readonly text: string
  readonly #strict: boolean

  constructor(text: string, strict: boolean) {
    this.text = text
    this.#strict = strict
  }

  /**
   * The values of the keys that the caller understands.
   * @throws CniError code 4 for a malformed pair or an unknown key (strict only)
   */
  pick<const K extends string>(keys: readonly K[]): { readonly [N in K]?: string } {
    const found: Partial<Record<K, string>> = {}
    if (this.text === '') return found
    const unknown: string[] = []
    let ignoreUnknown = false
    for (const pair of this.text.split(';')) {
      const parts = pair.split('=')
      const [key, value] = parts
      if (parts.length !== 2 || key === undefined || value === undefined) {
        if (this.#strict)
          throw new CniError({
            code: codes.invalidEnvironment,
            msg: `ARGS: invalid pair ${JSON.stringify(pair)}`,
            details: 'CNI_ARGS is a list of KEY=VALUE pairs separated by ";"',
          })
        continue
      }
      if (key === 'IgnoreUnknown') ignoreUnknown = this.#boolean(value)
      else if ((keys as readonly string[]).includes(key)) found[key as K] = value
      else unknown.push(pair)
    }
    if (this.#strict && unknown.length > 0 && !ignoreUnknown)
      throw new CniError({
        code: codes.invalidEnvironment,
        msg: `ARGS: unknown args [${unknown.map((pair) => JSON.stringify(pair)).join(' ')}]`,
        details: 'add IgnoreUnknown=1 to CNI_ARGS if other plugins use them',
      })
    return found
  }

  #boolean(value: string): boolean {
    const lower = value.toLowerCase()
    if (lower === '1' || lower === 'true') return true
    if (lower === '0' || lower === 'false' || !this.#strict) return false
    throw new CniError({
      code: codes.invalidEnvironment,
      msg: `ARGS: error parsing value of pair "IgnoreUnknown=${value}": boolean unmarshal error: invalid input ${lower}`,
    })
  }
}
