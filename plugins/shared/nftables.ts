import type { Context } from '../../cni/plugin.ts'
import { type Connection, isErrno } from '../../netlink/index.ts'

/**
 * nf_tables of the host, for removing things: null in a kernel without netfilter's netlink, where nothing of ours can
 * be. Asked for only where it is needed: the first time opens a socket.
 * @throws SystemError where the socket can't be opened for another reason
 */
export const nftablesOf = (host: Pick<Context<unknown>, 'hostNftables'>): Connection | null => {
  try {
    return host.hostNftables
  } catch (error) {
    if (isErrno(error, 'EPROTONOSUPPORT', 'EAFNOSUPPORT')) return null
    throw error
  }
}
