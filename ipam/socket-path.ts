/** The path of a unix socket: taken, and given up again, without hurting anybody else's. */
import { randomUUID } from 'node:crypto'
import { type BigIntStats, chmodSync, lstatSync, renameSync, unlinkSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { CniError, codes } from '../cni/error.ts'
import { connectTo, isSocketPath, MAX_SOCKET_PATH } from './connect.ts'
import { hasCode, ioError, makeDirectory } from './files.ts'
import { LockTable } from './lock.ts'

/** Milliseconds that another one may take to start or to stop. */
const LOCK_TIMEOUT = 5000

const locks = () => new LockTable(LOCK_TIMEOUT)

const inUse = (path: string, details: string): CniError =>
  new CniError({ code: codes.io, msg: `listen unix ${path}: address already in use`, details })

const statOf = (path: string): BigIntStats | undefined =>
  lstatSync(path, { bigint: true, throwIfNoEntry: false })

/** @returns null where somebody takes connections, else the errno's name */
const probe = async (path: string): Promise<string | null> => {
  try {
    const socket = await connectTo(path)
    socket.on('error', () => {}).destroy()
    return null
  } catch (error) {
    return (error as NodeJS.ErrnoException).code ?? (error as Error).message
  }
}

/** @throws CniError where the path is not free to be taken */
const refuseOthers = async (path: string): Promise<void> => {
  const stat = statOf(path)
  if (!stat) return
  if (!stat.isSocket()) throw inUse(path, 'it is no socket: remove it, or choose another path')
  const answer = await probe(path)
  if (answer === 'ECONNREFUSED' || answer === 'ENOENT') return
  throw inUse(
    path,
    answer === null || answer === 'EAGAIN'
      ? 'another process serves it: stop that one first'
      : `it could not be seen whether another process serves it (${answer})`,
  )
}

/** A path that is listened on. */
export interface SocketPath {
  /**
   * Removes it, unless somebody else has put something there since.
   * @throws CniError code 5 or 11
   */
  remove(): Promise<void>
}

/** The socket that is to be found at a path. */
export interface Listening {
  /** Begins to listen at a path, which is not yet the one that others know. */
  listen(path: string): void | Promise<void>
  /** Ends it again, because the path could not be taken. */
  abandon(): void
}

/**
 * Listens on a path. Its directory is made, for root alone, and locked for the moment, so that of two who start at once
 * one comes second; a lock on the directory leaves no file behind, and keeps nobody out longer than that. The socket is
 * made beside its path and then renamed to it: whoever finds it may connect, its mode is right from the start, and a
 * stale one is replaced in one step. It also keeps libuv, which removes what it has bound when it closes it, from
 * removing what may be somebody else's by then.
 * @throws CniError code 5 where it can't, 11 where others hold the lock
 */
export const takeSocketPath = async (
  path: string,
  mode: number,
  { listen, abandon }: Listening,
): Promise<SocketPath> => {
  const directory = dirname(path)
  const temporary = join(directory, `.${randomUUID().slice(0, 8)}`)
  if (!isSocketPath(path) || !isSocketPath(temporary))
    throw new CniError({ code: codes.io, msg: `a socket's path has 1 to ${MAX_SOCKET_PATH} bytes: ${path}` })
  try {
    makeDirectory(directory, 0o700)
  } catch (error) {
    throw ioError(error, directory)
  }
  const own = await locks().hold(directory, { create: false }, async () => {
    await refuseOthers(path)
    try {
      await listen(temporary)
      chmodSync(temporary, mode)
      const stat = statOf(temporary)
      renameSync(temporary, path)
      return stat
    } catch (error) {
      abandon()
      throw ioError(error, path)
    }
  })
  const remove = (): void => {
    const stat = statOf(path)
    if (stat && stat.ino === own?.ino && stat.dev === own.dev) unlinkSync(path)
  }
  return {
    async remove() {
      try {
        await locks().hold(directory, { create: false }, remove)
      } catch (error) {
        if (!hasCode(error, 'ENOENT')) throw ioError(error, path)
      }
    },
  }
}
