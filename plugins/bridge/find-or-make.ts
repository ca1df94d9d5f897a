/** What all attachments of a bridge share, and the first of them makes: another ADD may be as quick. */
import { CniError, codes } from '../../cni/error.ts'
import { isErrno } from '../../netlink/index.ts'

const TRIES = 5

export interface Wanted<T> {
  /** What it is, for an error: `bridge cni0`. */
  readonly what: string
  find(): Promise<T | null>
  /** @throws NetlinkError, EEXIST where another ADD has made it at the same moment */
  make(): Promise<void>
}

/**
 * Finds something on the host, and makes it where it is not there.
 * @throws what `find` and `make` throw; CniError where it was made, and could not be found, again and again
 */
export const findOrMake = async <T>({ what, find, make }: Wanted<T>): Promise<T> => {
  for (let attempt = 1; ; attempt++) {
    const found = await find()
    if (found !== null) return found
    if (attempt > TRIES)
      throw new CniError({
        code: codes.internal,
        msg: `${what} was made ${TRIES} times, and is not there`,
        details: 'somebody else removes or renames it',
      })
    try {
      await make()
    } catch (error) {
      if (attempt === TRIES || !isErrno(error, 'EEXIST')) throw error
    }
  }
}
