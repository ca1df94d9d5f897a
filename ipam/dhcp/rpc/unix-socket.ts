/** The keeper's server listens: on a path, or on a socket that was inherited. */
import type { Server } from 'node:net'
import { CniError, codes } from '../../../cni/error.ts'
import { ioError } from '../../files.ts'
import { type SocketPath, takeSocketPath } from '../../socket-path.ts'

const listening = (server: Server, where: { path: string } | { fd: number }): Promise<void> =>
  new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen(where, () => {
      server.off('error', reject)
      resolve()
    })
  })

/**
 * Listens on an inherited descriptor.
 * @throws CniError code 5 where it is no unix socket that could be listened on
 */
export const listenOnDescriptor = async (server: Server, fd: number): Promise<void> => {
  try {
    await listening(server, { fd })
  } catch (error) {
    throw ioError(error, `descriptor ${fd}`)
  }
  const address = server.address()
  if (typeof address !== 'object' || address === null) return
  server.close()
  throw new CniError({ code: codes.io, msg: `descriptor ${fd} is no unix socket` })
}

/**
 * Listens on a path; see {@link takeSocketPath}.
 * @throws CniError code 5 where it can't, 11 where others hold the lock
 */
export const listenOnPath = (server: Server, path: string, mode: number): Promise<SocketPath> =>
  takeSocketPath(path, mode, {
    listen: (temporary) => listening(server, { path: temporary }),
    abandon: () => server.close(),
  })
