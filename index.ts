/**
 * Linux network attachments for containers. Each namespace is also an entry point of its own (`linkwright/netlink`,
 * `linkwright/cni`, `linkwright/ipam`, `linkwright/plugins`), for programs that want to load no more than they use.
 */
export * as cni from './cni/index.ts'
export * as ipam from './ipam/index.ts'
export * as netlink from './netlink/index.ts'
export * as plugins from './plugins/index.ts'
