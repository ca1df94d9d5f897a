import type { AttachmentId, Result } from './types.ts'

/**
 * The IPAM plugin of a configuration, called by an interface plugin: in process where it is ours, executed from
 * CNI_PATH where it is not. Errors are the IPAM plugin's own {@link CniError}s.
 */
export interface Ipam {
  /** `ipam.type`. */
  readonly type: string
  /** Reserves addresses; its inverse is pushed on the attachment's undo stack before anything is reserved. */
  add(): Promise<Result>
  check(): Promise<void>
  del(): Promise<void>
  status(): Promise<void>
  gc(valid: readonly AttachmentId[]): Promise<void>
}
