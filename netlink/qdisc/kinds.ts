/** The kinds of qdiscs and classes that are known by their attributes. Others can be made and are listed too, their options as bytes. */
import type { Codec } from '../codec/types.ts'
import { packed } from '../codec/values.ts'
import { htb, htbClass } from './htb.ts'
import { tbf } from './tbf.ts'

/** `struct tc_fifo_qopt`, linux/pkt_sched.h: what may wait, in bytes or packets. */
const fifo = packed({ limit: 'u32' })

/** Nothing can be said of it. */
const none: Codec<Readonly<Record<string, never>>> = { write: () => {}, read: () => ({}) }

/** TCA_KIND of a qdisc to the layout of its TCA_OPTIONS. */
export const qdiscKinds = {
  /** Limited in bytes. */
  bfifo: fifo,
  /** Limited in packets. */
  pfifo: fifo,
  clsact: none,
  htb,
  ingress: none,
  tbf,
} as const

/** The same of classes: only some kinds of qdiscs have any. */
export const classKinds = { htb: htbClass } as const
