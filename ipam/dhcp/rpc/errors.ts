/** What goes wrong between a plugin and the keeper of its leases. */
import { CniError, codes } from '../../../cni/error.ts'
import { MAX_SOCKET_PATH } from '../../connect.ts'

/**
 * Why no keeper answered: the name of what connect(2) said (`ENOENT`, `ECONNREFUSED`, `EACCES`, …), `ENAMETOOLONG` for
 * a path that can't be a socket's, `ETIMEDOUT` where nobody took the connection or greeted in time, `ECONNRESET` where
 * it was closed instead, `EPROTO` where whoever answers keeps no leases.
 */
export type UnreachableReason = string

const hints: Readonly<Record<string, string>> = {
  ENOENT: 'there is no such socket: start what keeps the leases (dhcp daemon)',
  ECONNREFUSED: 'nobody listens there any more: start what keeps the leases (dhcp daemon)',
  EACCES: 'only root may ask',
  ETIMEDOUT: 'somebody listens there, but does not answer',
  ECONNRESET: 'whoever listens there is ending, or does not keep leases',
  EPROTO: 'what listens there does not keep leases',
  ENAMETOOLONG: `a socket's path has 1 to ${MAX_SOCKET_PATH} bytes`,
}

/** Nobody who keeps leases can be reached: nothing was asked, and nothing has happened. Code 50. */
export class KeeperUnreachable extends CniError {
  readonly path: string
  readonly reason: UnreachableReason

  /** @param text of the system, worded like Go's: `connect: no such file or directory` */
  constructor(path: string, reason: UnreachableReason, text: string, cause?: unknown) {
    super({
      code: codes.notAvailable,
      msg: `error dialing DHCP daemon: dial unix ${path}: ${text}`,
      details: hints[reason],
      cause,
    })
    this.path = path
    this.reason = reason
  }
}

/**
 * The keeper can be reached, but has no way to tell what was asked: Go's daemon, which knows no other question about a
 * lease than one that makes it where there is none. Code 999.
 */
export class KeeperCannotTell extends CniError {
  /** @param question what was asked: `check a lease` */
  constructor(path: string, question: string) {
    super({
      code: codes.internal,
      msg: `the DHCP daemon at ${path} cannot ${question}`,
      details: 'it answers, but speaks the protocol of the Go plugin, which can only make and release leases',
    })
  }
}
