import { CniError } from '../../cni/error.ts'

/** Steps of a removal, each tried whatever became of those before it; their errors come out together at the end. */
export class Failures {
  readonly #errors: unknown[] = []

  /** Tries one step. @returns what it gives; undefined where it failed */
  async attempt<T>(step: () => T): Promise<Awaited<T> | undefined> {
    try {
      return await step()
    } catch (error) {
      this.#errors.push(error)
      return undefined
    }
  }

  /** Tries one step. @returns whether it worked */
  async succeeds(step: () => unknown): Promise<boolean> {
    return (
      (await this.attempt(async () => {
        await step()
        return true
      })) ?? false
    )
  }

  /** @throws CniError the first error, the others in its details */
  raise(): void {
    const [first, ...others] = this.#errors.map((error) => CniError.from(error))
    if (!first) return
    if (others.length === 0) throw first
    throw new CniError({
      code: first.code,
      msg: first.msg,
      details: [first.details, ...others.map(({ message }) => message)].filter(Boolean).join('; '),
      cause: first,
    })
  }
}
