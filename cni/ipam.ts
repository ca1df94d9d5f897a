import { invalidConfig } from './error.ts'
import { isObject, lookup } from './fold.ts'
import { goString } from './json.ts'
import type { AnyPlugin, Plugins } from './plugin.ts'
import type { AttachmentId, JsonObject, Result } from './types.ts'

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

/** `ipam.type`; empty where none is named. */
export const ipamType = (rawConf: JsonObject): string => {
  const ipam = lookup(rawConf, 'ipam')
  const type = isObject(ipam) ? lookup(ipam, 'type') : undefined
  return typeof type === 'string' ? type : ''
}

/**
 * The plugin of `ipam.type` where it is ours; undefined where it is to be executed, or none is named.
 * @throws CniError code 7 where it is ours, but assigns no addresses
 */
export const ownIpamPlugin = (rawConf: JsonObject, plugins: Plugins): AnyPlugin | undefined => {
  const plugin = plugins.get(ipamType(rawConf))
  if (!plugin || plugin.kind === 'ipam') return plugin
  const known = [...plugins.values()].filter(({ kind }) => kind === 'ipam').map(({ type }) => type)
  throw invalidConfig(
    `ipam.type ${goString(plugin.type)} is not an IPAM plugin`,
    `name one that assigns addresses${known.length > 0 ? `, such as ${known.join(', ')}` : ''}`,
  )
}
