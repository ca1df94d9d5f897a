/** Actions of filters: what is done with a packet that matches. */
import { type KnownKind, selected, table, type UnknownKind } from '../codec/table.ts'
import { bytes, type Codec } from '../codec/types.ts'
import { type Choice, chooser, packed } from '../codec/values.ts'

/** `TCA_*_REDIR` and `TCA_*_MIRROR`, linux/tc_act/tc_mirred.h. */
export const mirredActions = { egressRedir: 1, egressMirror: 2, ingressRedir: 3, ingressMirror: 4 } as const
const mirredAction = chooser(mirredActions)

/** `TC_ACT_*`, linux/pkt_cls.h: what becomes of the packet afterwards. */
export const verdicts = {
  unspec: -1,
  ok: 0,
  reclassify: 1,
  shot: 2,
  pipe: 3,
  stolen: 4,
  queued: 5,
  repeat: 6,
  redirect: 7,
  trap: 8,
} as const
const verdict = chooser(verdicts)

/** `TCA_MIRRED_*` and `struct tc_mirred`. */
export const mirredTable = table({
  tm: [1, bytes],
  parms: [
    2,
    packed({
      index: 'u32',
      capab: 'u32',
      action: 's32',
      refcnt: 's32',
      bindcnt: 's32',
      eaction: 's32',
      ifindex: 'u32',
    }),
  ],
})

export interface Mirred {
  /** To where, and whether the packet itself or a copy. */
  readonly to: Choice<typeof mirredActions>
  /** Index of the link. The kernel tells 0 when that is gone; then the packets are dropped. */
  readonly index: number
  /** Default: `stolen` for the packet itself, `pipe` for a copy. */
  readonly verdict?: Choice<typeof verdicts> | undefined
}

/** `action mirred egress redirect dev LINK` */
const mirred: Codec<Mirred> = {
  nested: true,
  write(writer, { to, index, verdict: given }) {
    const eaction = mirredAction.toNumber(to)
    const usual = eaction === mirredActions.egressRedir || eaction === mirredActions.ingressRedir
    mirredTable.write(writer, {
      parms: {
        index: 0,
        capab: 0,
        action: verdict.toNumber(given ?? (usual ? 'stolen' : 'pipe')),
        refcnt: 0,
        bindcnt: 0,
        eaction,
        ifindex: index,
      },
    })
  },
  read(payload) {
    const { parms } = mirredTable.read(payload)
    return {
      to: mirredAction.fromNumber(parms?.eaction ?? 0),
      index: parms?.ifindex ?? 0,
      verdict: verdict.fromNumber(parms?.action ?? 0),
    }
  },
}

/** TCA_ACT_KIND to the layout of TCA_ACT_OPTIONS. */
export const actionKinds = { mirred } as const
/** `TCA_ACT_KIND` and `TCA_ACT_OPTIONS`. */
const one = selected(1, 2, actionKinds)

export type Action = KnownKind<typeof actionKinds> | UnknownKind

/** Actions in their order; the number of each attribute is its place, from 1. */
export const actions: Codec<readonly Action[]> = {
  nested: true,
  write(writer, values) {
    for (const [i, value] of values.entries()) {
      const start = writer.open(value.kind)
      one.write(writer, value)
      writer.close(start, i + 1, value.kind)
    }
  },
  read(payload) {
    const values: Action[] = []
    for (const at = payload.attributes(); at.next(); ) values.push(one.read(at.payload))
    return values
  },
}
