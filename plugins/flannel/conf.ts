import * as z from 'zod/mini'
import { commonConf, routes, rule, text } from '../../cni/schema.ts'

const hasNo = (key: string) =>
  rule<Readonly<Record<string, unknown>>>(
    (delegate) => !Object.hasOwn(delegate, key),
    () => `'delegate' dictionary must not have '${key}' field, it'll be set by flannel`,
  )

/** Every key of the flannel plugin. */
export const flannelConf = z.object({
  ...commonConf,
  /** What flanneld writes about this node. Empty: /run/flannel/subnet.env. */
  subnetFile: z._default(text, ''),
  /** Where the configurations are kept that DEL goes by. Empty: /var/lib/cni/flannel. */
  dataDir: z._default(text, ''),
  /** The configuration of the plugin that makes the interface, as far as flannel does not write it. */
  delegate: z.optional(
    z.record(z.string(), z.unknown()).check(
      rule(
        ({ type = '' }) => typeof type === 'string',
        () => "'delegate' dictionary, if present, must have (string) 'type' field",
      ),
      rule(
        ({ type }) => type !== 'flannel',
        () => "'delegate' dictionary must not have type 'flannel': it would call itself",
      ),
      hasNo('name'),
      hasNo('ipam'),
    ),
  ),
  /** What flannel completes: `ranges` and the network's `routes` are its own, `type` is host-local by default. */
  ipam: z.optional(z.looseObject({ type: z.optional(text), routes: z.optional(routes) })),
})

/** A validated configuration. */
export type FlannelConf = z.infer<typeof flannelConf>

/** `subnetFile` with its default. */
export const subnetFileOf = ({ subnetFile }: FlannelConf): string => subnetFile || '/run/flannel/subnet.env'

/** `dataDir` with its default. */
export const dataDirOf = ({ dataDir }: FlannelConf): string => dataDir || '/var/lib/cni/flannel'
