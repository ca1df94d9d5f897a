/** What plugins have in common that come behind another one in a chain: they see its result, and pass it on. */
import { invalidConfig } from '../../cni/error.ts'
import type { Attachment } from '../../cni/plugin.ts'
import type { Result } from '../../cni/types.ts'

/** Spec versions of plugins that do nothing without a prevResult, which came with 0.3.0. */
export const chainedVersions = ['0.3.0', '0.3.1', '0.4.0', '1.0.0', '1.1.0'] as const

/**
 * The result of the plugin before.
 * @param msg how the Go plugin of the same type puts it
 * @throws CniError code 7 where there is none
 */
export const chainedResult = (
  { prevResult }: Pick<Attachment<unknown>, 'prevResult'>,
  msg = 'must be called as chained plugin',
): Result => {
  if (prevResult) return prevResult
  throw invalidConfig(msg, 'it works on the interface that an earlier plugin of the chain has made')
}
