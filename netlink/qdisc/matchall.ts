import { table } from '../codec/table.ts'
import { bytes, u32 } from '../codec/types.ts'
import { actions } from './action.ts'
import { handle } from './handle.ts'

/** `TCA_MATCHALL_*`, linux/pkt_cls.h. `tc filter add … matchall [flowid CLASS] [action …]` */
export const matchall = table({
  classid: [1, handle],
  act: [2, actions],
  flags: [3, u32],
  pcnt: [4, bytes],
})
