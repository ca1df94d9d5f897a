/** Address translation; chains of type nat only. The comments give the words for nft. */
import { formatIp, parseIp } from '../../ip.ts'
import { REG_1, registerAt } from '../constants.ts'
import { dataTypes } from '../datatypes.ts'
import { type Expression, NAT_RANGE } from '../expressions.ts'
import type { Part, RuleContext } from './context.ts'
import { type Field, loadConcat } from './field.ts'

/** How the kernel chooses among addresses and ports. */
export interface NatFlags {
  /** `random`: a random source port, mixed from a hash */
  readonly random?: boolean | undefined
  /** `fully-random`: a random source port */
  readonly fullyRandom?: boolean | undefined
  /** `persistent`: the same address for every connection of a client */
  readonly persistent?: boolean | undefined
}

/** A port, or a range of them, both ends included. */
export type Ports = number | { readonly from: number; readonly to: number }

const bitsOf = ({ random, fullyRandom, persistent }: NatFlags, ports: boolean): number =>
  (random ? NAT_RANGE.protoRandom : 0) |
  (fullyRandom ? NAT_RANGE.protoRandomFully : 0) |
  (persistent ? NAT_RANGE.persistent : 0) |
  (ports ? NAT_RANGE.protoSpecified : 0)

const immediate = (dreg: number, value: Uint8Array): Expression => ({
  kind: 'immediate',
  data: { dreg, data: { value } },
})

/** nft insists that a rule which translates ports has matched a transport protocol. */
const needPorts = (rule: RuleContext): void => {
  if (rule.transport === undefined)
    throw new RangeError('translating ports needs a match on tcp, udp, sctp or the like before')
}

const loadPorts = (ports: Ports, start: number): { loads: Expression[]; regs: number[] } => {
  const values = typeof ports === 'number' ? [ports] : [ports.from, ports.to]
  if (values.length === 2 && values[0]! > values[1]!)
    throw new RangeError(`ports ${values.join('-')}: empty range`)
  const regs = values.map((_, i) => start + i)
  return { loads: values.map((port, i) => immediate(regs[i]!, dataTypes.inet_service.encode(port))), regs }
}

/** `masquerade [to :PORTS] [random,fully-random,persistent]`: the source becomes the outgoing interface's address */
export const masquerade =
  ({ ports, ...flags }: NatFlags & { readonly ports?: Ports | undefined } = {}): Part =>
  (rule) => {
    const bits = bitsOf(flags, ports !== undefined)
    if (ports !== undefined) needPorts(rule)
    const { loads, regs } = ports === undefined ? { loads: [], regs: [] } : loadPorts(ports, REG_1)
    rule.statement(...loads, {
      kind: 'masq',
      data: {
        ...(bits !== 0 && { flags: bits }),
        ...(regs[0] !== undefined && { protoMin: regs[0] }),
        ...(regs[1] !== undefined && { protoMax: regs[1] }),
      },
    })
  }

/** `redirect [to :PORTS]`: to this machine */
export const redirect =
  ({ ports, ...flags }: NatFlags & { readonly ports?: Ports | undefined } = {}): Part =>
  (rule) => {
    const bits = bitsOf(flags, ports !== undefined)
    if (ports !== undefined) needPorts(rule)
    const { loads, regs } = ports === undefined ? { loads: [], regs: [] } : loadPorts(ports, REG_1)
    rule.statement(...loads, {
      kind: 'redir',
      data: {
        ...(regs[0] !== undefined && { protoMin: regs[0] }),
        ...(regs[1] !== undefined && { protoMax: regs[1] }),
        ...(bits !== 0 && { flags: bits }),
      },
    })
  }

export interface NatTarget extends NatFlags {
  /** The new address, or a range of them. May be left out where only ports change. */
  readonly address?: string | { readonly from: string; readonly to: string } | undefined
  readonly ports?: Ports | undefined
}

const addressBytes = (text: string): Uint8Array => {
  const bytes = parseIp(text)
  if (!bytes) throw new RangeError(`${JSON.stringify(text)} is not an IP address`)
  return bytes
}

const nat =
  (type: 'snat' | 'dnat', { address, ports, ...flags }: NatTarget): Part =>
  (rule) => {
    if (address === undefined && ports === undefined)
      throw new RangeError(`${type} needs an address, ports, or both`)
    if (ports !== undefined) needPorts(rule)
    const addresses =
      address === undefined ? [] : typeof address === 'string' ? [address] : [address.from, address.to]
    const bytes = addresses.map(addressBytes)
    if (bytes.length === 2) {
      if (bytes[0]!.length !== bytes[1]!.length || Buffer.compare(bytes[0]!, bytes[1]!) > 0)
        throw new RangeError(`${bytes.map(formatIp).join('-')} is not a range of addresses`)
    }
    const family = bytes[0] ? (bytes[0].length === 4 ? 'ip' : 'ip6') : rule.family
    if (family !== rule.family && rule.family !== 'inet')
      throw new RangeError(`${type} to an address of family ${family} in a table of family ${rule.family}`)
    const loadedPorts = ports === undefined ? { loads: [], regs: [] } : loadPorts(ports, REG_1 + bytes.length)
    const bits = bitsOf(flags, ports !== undefined)
    rule.statement(...bytes.map((value, i) => immediate(REG_1 + i, value)), ...loadedPorts.loads, {
      kind: 'nat',
      data: {
        type,
        family,
        ...(bytes.length > 0 && { addrMin: REG_1 }),
        ...(bytes.length > 1 && { addrMax: REG_1 + 1 }),
        ...(loadedPorts.regs[0] !== undefined && { protoMin: loadedPorts.regs[0] }),
        ...(loadedPorts.regs[1] !== undefined && { protoMax: loadedPorts.regs[1] }),
        ...(bits !== 0 && { flags: bits }),
      },
    })
  }

/** `dnat [ip|ip6] to ADDRESS[:PORT]`, `dnat to :PORT` */
export const dnat = (target: NatTarget): Part => nat('dnat', target)
/** `snat [ip|ip6] to ADDRESS[:PORT]` */
export const snat = (target: NatTarget): Part => nat('snat', target)

/**
 * `dnat ip to FIELD . FIELD map @NAME`, or with `ports` `dnat ip addr . port to FIELD . FIELD map @NAME`: the target
 * comes from a map of the table whose values are addresses, or addresses and ports.
 */
export const dnatMap =
  (options: {
    readonly keys: readonly Field[]
    readonly map: string
    readonly family: 'ip' | 'ip6'
    /** The map's values end with a port. */
    readonly ports?: boolean | undefined
  }): Part =>
  (rule) => {
    const { keys, map, family, ports = false } = options
    const words = family === 'ip' ? 1 : 4
    rule.statement(
      ...loadConcat(rule, keys),
      { kind: 'lookup', data: { sreg: REG_1, dreg: REG_1, set: map } },
      {
        kind: 'nat',
        data: { type: 'dnat', family, addrMin: REG_1, ...(ports && { protoMin: registerAt(words) }) },
      },
    )
  }
