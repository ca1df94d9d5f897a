/** Handles of traffic control: what `tc` prints as `1:`, `1:30`, `ffff:`. */
import type { Codec } from '../codec/types.ts'

/** `major:minor`, both in hexadecimal. A qdisc's minor number is 0, and not written. */
export type Handle = `${string}:${string}`

/** `TC_H_ROOT` and `TC_H_INGRESS`, linux/pkt_sched.h; clsact is where ingress is. */
export const qdiscParents = { root: 0xffff_ffff, ingress: 0xffff_fff1 } as const
/** The hooks of ingress and clsact: `TC_H_CLSACT` with `TC_H_MIN_INGRESS` and `TC_H_MIN_EGRESS`. */
export const filterParents = { root: 0, ingress: 0xffff_fff2, egress: 0xffff_fff3 } as const

/** @throws RangeError for what is no handle */
export const parseHandle = (handle: Handle): number => {
  const [, major, minor] = /^([0-9a-f]{1,4}):([0-9a-f]{0,4})$/i.exec(handle) ?? []
  if (major === undefined || minor === undefined)
    throw new RangeError(`${JSON.stringify(handle)} is not a handle such as 1: or 1:30`)
  return Number.parseInt(major, 16) * 0x1_0000 + Number.parseInt(minor || '0', 16)
}

export const formatHandle = (handle: number): Handle => {
  const minor = handle & 0xffff
  return `${(handle >>> 16).toString(16)}:${minor === 0 ? '' : minor.toString(16)}`
}

/** A place in the tree: a handle, or a name of one that has none. */
export type Place<N extends Readonly<Record<string, number>>> = Handle | (keyof N & string)

/** @throws RangeError for what is none */
export const parsePlace = <N extends Readonly<Record<string, number>>>(names: N, place: Place<N>): number =>
  Object.hasOwn(names, place) ? names[place]! : parseHandle(place as Handle)

export const formatPlace = <N extends Readonly<Record<string, number>>>(
  names: N,
  place: number,
): Place<N> => {
  for (const name in names) if (names[name] === place) return name
  return formatHandle(place)
}

/** A handle as an attribute. */
export const handle: Codec<Handle> = {
  write: (writer, value) => writer.u32(parseHandle(value)),
  read: (payload) => formatHandle(payload.u32()),
}
