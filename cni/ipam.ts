import { invalidConfig } from './error.ts'
import { isObject, lookup } from './fold.ts'
import { goString } from './json.ts'
import type { AnyPlugin, Plugins } from './plugin.ts'
import type { AttachmentId, JsonObject, Result } from './types.ts'

/**
 * A plugin that another one calls, as the spec's section 4 has it: in process where it is ours, executed from CNI_PATH
 * where it is not. Errors are the called plugin's own {@link CniError}s.
 */
export interface Delegate {
  /** As in a configuration's `type`. */
  readonly type: string
  /** Of one that assigns addresses: whether its DEL and GC need the interface, to send a release over it. */
  readonly needsInterface: boolean
  /** What it does is undone with the attachment: its inverse is on the undo stack before anything is touched. */
  add(): Promise<Result>
  check(): Promise<void>
  del(): Promise<void>
  status(): Promise<void>
  gc(valid: readonly AttachmentId[]): Promise<void>
  /** What was missing and is there again, in words; nothing of a plugin that can't, or is not ours. */
  repair(): Promise<readonly string[]>
}

/** The IPAM plugin of a configuration, called by an interface plugin. Its `add` reserves addresses. */
export type Ipam = Delegate

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
