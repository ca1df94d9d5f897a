/** Connecting to unix sockets. */
import type { Socket } from 'node:net'

/** Bytes of a path in `struct sockaddr_un` (unix(7)), without its NUL. libuv would cut off the rest. */
export const MAX_SOCKET_PATH = 107

/** Whether a path can be that of a socket. */
export const isSocketPath = (path: string): boolean =>
  path !== '' && Buffer.byteLength(path) <= MAX_SOCKET_PATH

/**
 * Connects to a unix socket, at once or not at all.
 * @throws SystemError of connect(2): EAGAIN where too many wait to be accepted
 */
export const connectTo = async (path: string): Promise<Socket> => {
  // Loaded when needed: a plugin's executable lives for milliseconds, and this takes some of them.
  const { connect } = await import('node:net')
  return new Promise((resolve, reject) => {
    const socket = connect(path)
    socket.once('error', reject)
    socket.once('connect', () => {
      socket.off('error', reject)
      resolve(socket)
    })
  })
}
