import { table } from '../codec/table.ts'

/** No attributes of its own. `ip link add NAME type dummy` */
export const dummy = table({})
