/** What the daemon counts. */

/** One operation that is over. */
export interface Operation {
  /** A type that the daemon serves. */
  readonly plugin: string
  readonly verb: string
  /** 0: success; else that of the CNI error. */
  readonly code: number
  /** From the request's arrival to its answer. */
  readonly seconds: number
}

/** What is read when somebody asks. */
export type Gauge = 'running' | 'queued' | 'leases' | 'connections'

/** Why a connection was refused: another user's; too many; no descriptors or memory left; no request that makes sense. */
export type Refusal = 'peer' | 'limit' | 'resources' | 'protocol'

export class Metrics {
  /** Counts an operation. */
  operation(operation: Operation): void {
    void operation
  }
  /** Counts a connection that was not served. */
  refused(reason: Refusal): void {
    void reason
  }
  /** Says where a gauge is read. */
  gauge(name: Gauge, read: () => number): void {
    void name
    void read
  }
}
