/** What travels through CNI: results and configuration as JSON. Spec 1.1.0. */

export type Json = string | number | boolean | null | readonly Json[] | JsonObject
export interface JsonObject {
  readonly [key: string]: Json | undefined
}

/** An interface in a result. */
export interface Interface {
  readonly name: string
  readonly mac?: string | undefined
  /** Bytes. */
  readonly mtu?: number | undefined
  /** CNI_NETNS of what is inside the container; absent for what is on the host. */
  readonly sandbox?: string | undefined
  readonly socketPath?: string | undefined
  readonly pciID?: string | undefined
}

/** An address in a result. */
export interface IpConfig {
  /** `address/prefix`. */
  readonly address: string
  readonly gateway?: string | undefined
  /** Index into `interfaces`. */
  readonly interface?: number | undefined
}

/** A route, in a result and in IPAM configuration. */
export interface Route {
  /** `address/prefix`. */
  readonly dst: string
  readonly gw?: string | undefined
  /** Bytes. */
  readonly mtu?: number | undefined
  /** Bytes. */
  readonly advmss?: number | undefined
  readonly priority?: number | undefined
  readonly table?: number | undefined
  /** `RT_SCOPE_*`: 0 universe, 253 link, 254 host. */
  readonly scope?: number | undefined
}

export interface Dns {
  readonly nameservers?: readonly string[] | undefined
  readonly domain?: string | undefined
  readonly search?: readonly string[] | undefined
  readonly options?: readonly string[] | undefined
}

/** A result in the shape of spec 1.1.0, whatever version the configuration speaks; converted at the doors. */
export interface Result {
  readonly interfaces?: readonly Interface[] | undefined
  readonly ips?: readonly IpConfig[] | undefined
  readonly routes?: readonly Route[] | undefined
  readonly dns?: Dns | undefined
}

/** What names an attachment within a network. */
export interface AttachmentId {
  readonly containerId: string
  readonly ifName: string
}

export type Verb = 'ADD' | 'CHECK' | 'DEL' | 'GC' | 'STATUS' | 'VERSION'

/** Every version of the spec, oldest first. */
export const allVersions = ['0.1.0', '0.2.0', '0.3.0', '0.3.1', '0.4.0', '1.0.0', '1.1.0'] as const
