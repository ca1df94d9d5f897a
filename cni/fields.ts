/** Field types for plugins' configuration schemas, and the keys that all configurations share. */
import * as z from 'zod/mini'
import { parseCidr, parseIp } from '../netlink/ip.ts'
import { parseMac } from '../netlink/mac.ts'

/**
 * A check whose text becomes the error's `msg` as it stands, without naming the key: for the sentences that other
 * tools match on.
 */
export const rule = <T>(holds: (value: T) => boolean, text: (value: T) => string): z.core.$ZodCheck<T> =>
  z.refine<T>((value) => holds(value), {
    error: ({ input }) => text(input as T),
    params: { verbatim: true },
  })

/** A check that says in a few words what was expected: `IP address`. The key and what came are added. */
export const expects = <T>(holds: (value: T) => boolean, what: string): z.core.$ZodCheck<T> =>
  z.refine<T>((value) => holds(value), { error: what })

/** Any integer. */
export const int = z.int({ error: 'integer' })

/** An integer from `min` to `max`. */
export const integer = (min: number, max: number) => {
  const error = `integer from ${min} to ${max}`
  return z.int({ error }).check(z.gte(min, { error }), z.lte(max, { error }))
}

/** An integer from 0 to 4294967295. */
export const uint32 = integer(0, 0xffff_ffff)
/** Bytes; 0 leaves it to the kernel. */
export const mtu = integer(0, 0x7fff_ffff)
/** False unless the configuration says otherwise. */
export const flag = z._default(z.boolean(), false)
/** A string. */
export const text = z.string()
/** A list of strings. */
export const texts = z.array(z.string())

/** A MAC address in any of Go's notations; empty means none. */
export const mac = z
  .string()
  .check(expects((value) => value === '' || parseMac(value) !== null, 'MAC address like 02:11:22:33:44:55'))
/** An IPv4 or IPv6 address; empty means none, as Go has it. */
export const ip = z.string().check(expects((value) => value === '' || parseIp(value) !== null, 'IP address'))
/** `address/prefix`; host bits are kept. */
export const cidr = z
  .string()
  .check(expects((value) => parseCidr(value) !== null, 'IP address with a prefix length like 10.1.0.0/16'))
/** An address with or without a prefix length, as requested addresses are given. */
export const ipOrCidr = z
  .string()
  .check(
    expects(
      (value) => (value.includes('/') ? parseCidr(value) : parseIp(value)) !== null,
      'IP address, with or without a prefix length',
    ),
  )

/** A route of IPAM configuration. */
export const route = z.object({
  dst: cidr,
  gw: z.optional(ip),
  mtu: z.optional(mtu),
  advmss: z.optional(mtu),
  priority: z.optional(uint32),
  table: z.optional(uint32),
  scope: z.optional(integer(0, 255)),
})
/** Routes of IPAM configuration. */
export const routes = z.array(route)

/** `dns` of a configuration; spec section 2, "Network configuration format". */
export const dns = z.object({
  nameservers: z.optional(texts),
  domain: z.optional(text),
  search: z.optional(texts),
  options: z.optional(texts),
})

/** `runtimeConfig` with the fields a plugin understands; others are kept as they are. */
export const runtimeConfigOf = <const F extends z.core.$ZodLooseShape>(fields: F) =>
  z.optional(z.looseObject(fields))

/** `args.cni` with the fields a plugin understands; others are kept as they are. */
export const argsOf = <const F extends z.core.$ZodLooseShape>(fields: F) =>
  z.optional(z.looseObject({ cni: z.optional(z.looseObject(fields)) }))

/** What every configuration may hold; spread it into a plugin's schema. */
export const commonConf = {
  cniVersion: z._default(text, '0.1.0'),
  name: text,
  type: z.optional(text),
  /** The rest of it belongs to the IPAM plugin, which reads the whole configuration itself. */
  ipam: z.optional(z.looseObject({ type: z._default(text, '') })),
  dns: z.optional(dns),
  /** Read through `attachment.prevResult`. */
  prevResult: z.optional(z.looseObject({})),
  capabilities: z.optional(z.record(z.string(), z.boolean())),
  runtimeConfig: runtimeConfigOf({ mac: z.optional(mac), ips: z.optional(texts) }),
  args: argsOf({ mac: z.optional(mac), ips: z.optional(texts) }),
}
