import type * as z from 'zod/mini'
import type { Connection } from '../netlink/connection.ts'
import type { Netns } from '../netlink/netns.ts'
import type { CniArgs } from './args.ts'
import type { Exec } from './exec.ts'
import type { Delegate, Ipam } from './ipam.ts'
import type { AttachmentId, JsonObject, Result } from './types.ts'
import type { UndoStack } from './undo.ts'

/** Where a plugin says what it noticed. Never a configuration's secrets. */
/**
 * Messages are words of this program. What comes from a configuration or another program, and may hold secrets, goes
 * into the field `quoted`: that is for who has called, and in no log.
 */
export interface Logger {
  debug(message: string, fields?: Readonly<Record<string, unknown>>): void
  info(message: string, fields?: Readonly<Record<string, unknown>>): void
  warn(message: string, fields?: Readonly<Record<string, unknown>>): void
  error(message: string, fields?: Readonly<Record<string, unknown>>): void
}

/** Time, so that tests can hold it still. */
export interface Clock {
  /** Milliseconds since the epoch. */
  now(): number
}

/** Everything that a plugin may touch, for the verbs about a whole network (STATUS, GC). */
export interface Context<C> {
  /** The validated configuration with its defaults. On DEL and GC, keys that do not validate have their defaults. */
  readonly conf: C
  /** The configuration as it came. */
  readonly rawConf: JsonObject
  /** Its `cniVersion`. */
  readonly cniVersion: string
  /** Its `name`. */
  readonly network: string
  /** CNI_ARGS; see {@link CniArgs} for when a malformed one is an error. */
  readonly args: CniArgs
  /** The namespace that plays the host. */
  readonly hostNetns: Netns
  /** rtnetlink in the host's namespace, opened at first use. */
  readonly host: Connection
  /** nf_tables in the host's namespace, opened at first use. */
  readonly hostNftables: Connection
  /**
   * Deletes a link of the host by its index, together with those that other operations delete at the same time: the
   * kernel takes hardly longer for many than for one. That there is none (any more) is no error.
   * @throws NetlinkError
   */
  readonly deleteHostLink: (index: number) => Promise<void>
  /**
   * The plugin of `ipam.type`, in process where it is ours, executed where not; null where none is named. On ADD its
   * configuration is validated (or its file found) when this is first read, so read it before anything is touched.
   */
  readonly ipam: Ipam | null
  /**
   * The plugin of `conf.type`, to be called with that configuration for the same attachment: for plugins that write
   * another's configuration. On ADD it is validated (or its file found) now; with the other verbs what is wrong is an
   * error of the call.
   * @param conf its keys, `prevResult` where it is to see one; `name` and `cniVersion` are the caller's
   * @throws CniError code 7 for a configuration that it does not take
   */
  delegate(conf: JsonObject): Delegate
  /** Runs a program of the host (iptables), in the host's namespace, without a shell. */
  readonly exec: Exec
  readonly log: Logger
  readonly clock: Clock
  /** Aborted when the caller gives up: stop, and what was done is undone. */
  readonly signal: AbortSignal
}

/** Everything that a plugin may touch, for one attachment (ADD, CHECK, DEL). */
export interface Attachment<C> extends Context<C>, AttachmentId {
  /** CNI_NETNS as it came, for `sandbox`; empty where none was given. */
  readonly netnsPath: string
  /** The container's namespace; null on DEL when it is gone, and for an IPAM plugin that could not open it. */
  readonly netns: Netns | null
  /**
   * rtnetlink in the container's namespace, opened at first use. Where that is gone, ADD and CHECK end here, and on
   * DEL every exchange is an error.
   * @throws CniError code 8 when it is gone
   */
  readonly container: Connection
  /** The configuration's prevResult, converted to the newest shape; null where absent. */
  readonly prevResult: Result | null
  /** ADD: push the inverse of every effect here. Other verbs leave it alone. */
  readonly undo: UndoStack
}

/**
 * Where a configuration names a plugin. `interface`: in `type`, to make or change an interface of the container.
 * `ipam`: in `ipam.type`, to assign addresses; it may be executed by itself, as interface plugins that are not ours do.
 */
export type PluginKind = 'interface' | 'ipam'

/** A plugin: its type, its versions, its configuration and its verbs. `Conf` follows from the schema. */
export interface PluginDefinition<S extends z.core.$ZodType> {
  /** As in a configuration's `type`, and the executable's name. */
  readonly type: string
  readonly kind: PluginKind
  /**
   * Of an `ipam` plugin: whether its DEL and GC need the interface, as DHCP does to send a release. Others are called when
   * the interface is gone: an address that they give back may be somebody else's at once. Default: false.
   */
  readonly needsInterface?: boolean | undefined
  /** Spec versions it accepts, oldest first. */
  readonly versions: readonly string[]
  /** One schema: validation, defaults, JSON Schema. Keys are matched as Go does it (any case). */
  readonly conf: S
  /** Makes the attachment. A throw undoes everything on `attachment.undo`. */
  add(attachment: Attachment<z.infer<S>>): Promise<Result>
  /** Throws a CniError where the attachment is not as ADD left it. Changes nothing. */
  check(attachment: Attachment<z.infer<S>>): Promise<void>
  /** Removes all that is ours. What is gone already is no error. */
  del(attachment: Attachment<z.infer<S>>): Promise<void>
  /** Throws a CniError (50, 51) where an ADD could not work now. */
  status?(context: Context<z.infer<S>>): Promise<void>
  /** Removes everything ours in the network that is not in the list. */
  gc?(context: Context<z.infer<S>>, valid: readonly AttachmentId[]): Promise<void>
  /**
   * Makes again what somebody has taken out of the host's rule sets (NAT, port mappings, firewall rules) while the
   * attachment runs, and nothing else. Where everything is there it changes nothing. Nothing is undone when it throws.
   * @returns what was missing, in words; nothing: an empty list
   */
  repair?(attachment: Attachment<z.infer<S>>): Promise<readonly string[]>
}

/** A plugin with its configuration's type forgotten: method parameters are bivariant. */
export interface AnyPlugin {
  readonly type: string
  readonly kind: PluginKind
  readonly needsInterface?: boolean | undefined
  readonly versions: readonly string[]
  readonly conf: z.core.$ZodType
  add(attachment: Attachment<unknown>): Promise<Result>
  check(attachment: Attachment<unknown>): Promise<void>
  del(attachment: Attachment<unknown>): Promise<void>
  status?(context: Context<unknown>): Promise<void>
  gc?(context: Context<unknown>, valid: readonly AttachmentId[]): Promise<void>
  repair?(attachment: Attachment<unknown>): Promise<readonly string[]>
}

/** Plugins by their type. */
export type Plugins = ReadonlyMap<string, AnyPlugin>

/** Declares a plugin; the types of its verbs follow from its schema. */
export const definePlugin = <const S extends z.core.$ZodType>(
  definition: PluginDefinition<S>,
): PluginDefinition<S> => definition
