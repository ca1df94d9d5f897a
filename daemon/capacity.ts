/** How much comes at once, by what the kernel lets this process have open. */

/** The daemon's own: the runtime's, sockets, connections to the host, DHCP leases that are being asked for. */
const OWN = 64
/** Of a caller who waits: the connection, and the namespaces that came along. */
const WAITING = 3
/** What an operation at work has open beside that, at most: sockets in both namespaces, a lock, directories, files. */
const WORKING = 6

/**
 * Connections that RLIMIT_NOFILE has room for, at least 1. Whoever is told to do without goes on alone; who is served, and
 * then meets EMFILE, fails.
 * @param descriptors that may be open
 * @param concurrency operations at a time
 */
export const connectionsWithin = (descriptors: number, concurrency: number): number => {
  const room = descriptors - OWN
  const atWork = Math.floor(room / (WAITING + WORKING))
  const all = atWork <= concurrency ? atWork : Math.floor((room - WORKING * concurrency) / WAITING)
  return Math.max(1, all)
}
