import { binding, type Descriptor } from '../../../../../native/binding.ts'

export const AF_UNIX = 1
export const AF_INET = 2
const SOCK_STREAM = 1

/** Whoever gets the numbers owns them; so the objects, which would close them too, live as long as the process. */
const inherited: Descriptor[] = []

/**
 * A socket that listens, as a service manager passes it on.
 * @param address what follows the family in `struct sockaddr`
 * @returns its number
 */
export const inherit = (domain: number, address: Uint8Array, backlog = 8): number => {
  const [socket] = binding().openInNetns(null, [{ domain, type: SOCK_STREAM, protocol: 0 }])
  if (!socket || !('fd' in socket)) throw socket
  inherited.push(socket)
  binding().bind(socket, Buffer.concat([new Uint8Array(Uint16Array.of(domain).buffer), address]))
  binding().listen(socket, backlog)
  return socket.fd
}
