/** The CNI protocol as a library: plugins called in process, chains, configurations, results. */

export { CniArgs } from './args.ts'
export {
  type CacheEntry,
  type CacheKey,
  type CacheListing,
  defaultCacheDir,
  listCache,
  readCachedResult,
  type UnreadableEntry,
} from './cache.ts'
export { type ChainOptions, runChain } from './chain.ts'
export {
  findNetwork,
  loadConfFile,
  type NetworkConf,
  type PluginConf,
  parseConfList,
  parseSingleConf,
} from './conflist.ts'
export {
  type Action,
  type Added,
  type CallOptions,
  dispatch,
  type Host,
  type Invocation,
} from './dispatch.ts'
export { checkContainerId, checkIfName, checkNetworkName, type Environment } from './environment.ts'
export { CniError, type CniErrorOptions, codes, invalidConfig } from './error.ts'
export type { Exec, ExecCallOptions, Executed } from './exec.ts'
export { type OpenHost, openHost } from './host.ts'
export type { Delegate, Ipam } from './ipam.ts'
export { printJson } from './json.ts'
export { jsonSchema } from './json-schema.ts'
export type { AnyPlugin, Attachment, Clock, Context, Logger, PluginDefinition, Plugins } from './plugin.ts'
export { definePlugin } from './plugin.ts'
export { type Reconciled, type ReconcileOptions, type Repair, reconcile } from './reconcile.ts'
export { parseOwnResult, parseResult, toVersion } from './result.ts'
export * from './schema.ts'
export { errorJson, type Reply, type Request, serve } from './serve.ts'
export * from './types.ts'
export { apply, type Step, UndoStack } from './undo.ts'
export { allows, compareVersions, currentVersion } from './version.ts'
