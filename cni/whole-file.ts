import { renameSync, unlinkSync, writeFileSync } from 'node:fs'
import { isErrno } from '../netlink/error.ts'

/**
 * Writes a file that is seen complete or not at all.
 * @param draft where it is written first: a name in the same file system that nobody else uses. What somebody who was
 * killed has left there goes, and where it can't be written nothing stays
 * @throws SystemError
 */
export const writeWhole = (path: string, draft: string, text: string, mode = 0o600): void => {
  const write = (): void => {
    // Never through a link that somebody has put there.
    writeFileSync(draft, text, { encoding: 'utf8', mode, flag: 'wx' })
    renameSync(draft, path)
  }
  try {
    try {
      write()
    } catch (error) {
      if (!isErrno(error, 'EEXIST')) throw error
      unlinkSync(draft)
      write()
    }
  } catch (error) {
    try {
      unlinkSync(draft)
    } catch {
      // Why it could not be written matters more.
    }
    throw error
  }
}
