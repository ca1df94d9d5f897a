import { isErrno, NetlinkError, SocketError } from '../netlink/error.ts'

/** Error codes of the CNI spec (section "Error", and 8 and 999 as the Go plugins use them). */
export const codes = {
  incompatibleVersion: 1,
  unsupportedField: 2,
  unknownContainer: 3,
  invalidEnvironment: 4,
  io: 5,
  decoding: 6,
  invalidConfig: 7,
  invalidNetns: 8,
  tryAgainLater: 11,
  notAvailable: 50,
  limitedConnectivity: 51,
  internal: 999,
} as const

export interface CniErrorOptions {
  /** One of {@link codes}, or a plugin's own from 100 on. */
  readonly code: number
  readonly msg: string
  /** What to do about it. */
  readonly details?: string | undefined
  readonly cause?: unknown
}

/** Kinds of links whose module has another name. */
const modules: Readonly<Record<string, string>> = { vlan: '8021q' }

/** Too many descriptors are open, in this process or everywhere: that passes. */
const crowded = ['EMFILE', 'ENFILE'] as const

/** What to do about a refusal of the kernel that does not say so itself. */
const advice = (error: unknown): string | undefined => {
  if (!(error instanceof NetlinkError || error instanceof SocketError)) return undefined
  if (error.code === 'EPERM') return 'CAP_NET_ADMIN is needed: run as root'
  const kind = /^add link .*\(([\w-]+)\)$/.exec(error.op)?.[1]
  if (error.code !== 'EOPNOTSUPP' || kind === undefined) return undefined
  return `this kernel has no links of kind ${kind}: load its module (modprobe ${modules[kind] ?? kind})`
}

/** The one error that leaves a plugin. */
export class CniError extends Error {
  override readonly name = 'CniError'
  readonly code: number
  readonly msg: string
  readonly details: string | undefined

  constructor({ code, msg, details, cause }: CniErrorOptions) {
    super(details ? `${msg}; ${details}` : msg, cause === undefined ? undefined : { cause })
    this.code = code
    this.msg = msg
    this.details = details
  }

  /**
   * Keeps a CniError as it is; anything else becomes code 999 with its message, prefixed where asked, or code 11 where
   * only descriptors were missing. A refusal of the kernel gets details where something can be done about it.
   */
  static from(error: unknown, prefix = ''): CniError {
    if (error instanceof CniError) return error
    const message = error instanceof Error ? error.message : String(error)
    const code = isErrno(error, ...crowded) ? codes.tryAgainLater : codes.internal
    return new CniError({ code, msg: prefix + message, details: advice(error), cause: error })
  }
}

/** Code 7: the configuration says something impossible. */
export const invalidConfig = (msg: string, details?: string): CniError =>
  new CniError({ code: codes.invalidConfig, msg, details })
