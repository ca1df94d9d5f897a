/** What keeps the leases of a node, as its callers see it: in this process, or behind a socket. */
import type { AttachmentId, JsonObject, Result } from '../../cni/types.ts'

/** `msg` of the error of an ADD that no server gave an address: what the Go daemon says. */
export const NO_LEASE = 'no more tries'

/** One attachment's lease, and the configuration that asks for it. */
export interface LeaseCall extends AttachmentId {
  /** CNI_NETNS. */
  readonly netns: string
  /** CNI_ARGS. */
  readonly args: string
  /** The whole configuration, as it came. */
  readonly conf: JsonObject
}

export interface KeeperStatus {
  readonly pid: number
  /** Of the software. */
  readonly version: string
  /** How many leases it keeps. */
  readonly leases: number
  /** What happened since it started, by name: `bound`, `renewed`, `expired`, … */
  readonly counters: Readonly<Record<string, number>>
}

/** A lease as the keeper tells it. Times are milliseconds since the epoch. */
export interface KeptLease extends AttachmentId {
  readonly network: string
  readonly netns: string
  readonly version: 4 | 6
  /** `BOUND`, `RENEWING`, … */
  readonly state: string
  /** `address/prefix`; absent while there is none. */
  readonly address?: string | undefined
  readonly server?: string | undefined
  readonly renewAt?: number | undefined
  readonly rebindAt?: number | undefined
  /** Absent: never. */
  readonly expiresAt?: number | undefined
}

/** Every error is a CniError. */
export interface LeaseKeeper {
  /**
   * Gets a lease, or tells the one that the attachment has.
   * @throws CniError code 11 where no server gave one in time
   */
  allocate(call: LeaseCall, signal?: AbortSignal): Promise<Result>
  /** The attachment's lease as it is; none is made. @throws CniError where there is none, or it has no address now */
  check(call: LeaseCall): Promise<Result>
  /** Gives the lease back to its server. None is no error. */
  release(call: LeaseCall): Promise<void>
  /** Gives back all leases of a network but those of the listed attachments. */
  gc(network: string, valid: readonly AttachmentId[]): Promise<void>
  status(): Promise<KeeperStatus>
  list(): Promise<readonly KeptLease[]>
}
