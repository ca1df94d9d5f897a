/** What nf_tables messages look like: `struct nfgenmsg` and the attributes of every object. */
import { type Attributes, list, type Rows, struct, type Table, table } from '../codec/table.ts'
import { be32, be64, bytes, string } from '../codec/types.ts'
import { policyCode } from './constants.ts'
import { counter, data, expression, expressionList } from './expressions.ts'

/** `struct nfgenmsg`. Answers carry the low 16 bits of the rule set's generation in `resId`. */
export const nfgenmsg = struct({ family: 'u8', version: 'u8', resId: 'be16' })

/** The layout of one kind of nf_tables message. */
export interface NfLayout<T extends Rows> {
  readonly header: typeof nfgenmsg
  readonly attributes: Table<T>
}
/** A message as read by its layout. */
export interface NfMessage<L> {
  /** Number of the family. */
  readonly family: number
  readonly attributes: L extends NfLayout<infer T> ? Attributes<T> : never
}

const layout = <T extends Rows>(attributes: Table<T>): NfLayout<T> => ({
  header: nfgenmsg,
  attributes,
})

/** Bits of a table's `flags`. */
export const TABLE_F = { dormant: 1, owner: 2 } as const
export const tableLayout = layout(
  table({
    table: [1, string],
    flags: [2, be32],
    use: [3, be32],
    handle: [4, be64],
    userdata: [6, bytes],
    owner: [7, be32],
  }),
)

export const chainLayout = layout(
  table({
    table: [1, string],
    handle: [2, be64],
    chain: [3, string],
    hook: [
      4,
      table({
        number: [1, be32],
        priority: [2, be32],
        device: [3, string],
        devices: [4, list(string)],
      }),
    ],
    policy: [5, policyCode],
    use: [6, be32],
    type: [7, string],
    counters: [8, table({ bytes: [1, be64], packets: [2, be64] })],
    flags: [10, be32],
    id: [11, be32],
    userdata: [12, bytes],
  }),
)

export const ruleLayout = layout(
  table({
    table: [1, string],
    chain: [2, string],
    handle: [3, be64],
    expressions: [4, expressionList],
    compat: [5, bytes],
    position: [6, be64],
    userdata: [7, bytes],
    id: [9, be32],
    positionId: [10, be32],
    chainId: [11, be32],
  }),
)

/** Bits of a set's `flags`, `enum nft_set_flags`. */
export const SET_F = {
  anonymous: 0x1,
  constant: 0x2,
  interval: 0x4,
  map: 0x8,
  timeout: 0x10,
  dynamic: 0x20,
  object: 0x40,
  concat: 0x80,
  expr: 0x100,
} as const
export const setLayout = layout(
  table({
    table: [1, string],
    set: [2, string],
    flags: [3, be32],
    keyType: [4, be32],
    keyLen: [5, be32],
    dataType: [6, be32],
    dataLen: [7, be32],
    policy: [8, be32],
    description: [9, table({ size: [1, be32], concat: [2, list(table({ len: [1, be32] }))] })],
    id: [10, be32],
    timeout: [11, be64],
    gcInterval: [12, be32],
    userdata: [13, bytes],
    objType: [15, be32],
    handle: [16, be64],
    expr: [17, expression],
    expressions: [18, expressionList],
  }),
)

/** Bits of an element's `flags`. */
export const ELEMENT_F = { intervalEnd: 1, catchall: 2 } as const
export const element = table({
  key: [1, data],
  data: [2, data],
  flags: [3, be32],
  timeout: [4, be64],
  expiration: [5, be64],
  userdata: [6, bytes],
  expr: [7, expression],
  objref: [9, string],
  keyEnd: [10, data],
  expressions: [11, expressionList],
})
export const elementListLayout = layout(
  table({ table: [1, string], set: [2, string], elements: [3, list(element)], setId: [4, be32] }),
)

/** Objects; `data` is that of counters, the only ones with functions here. */
export const objectLayout = layout(
  table({
    table: [1, string],
    name: [2, string],
    type: [3, be32],
    data: [4, counter],
    use: [5, be32],
    handle: [6, be64],
    userdata: [8, bytes],
  }),
)

export const generationLayout = layout(
  table({ id: [1, be32], processId: [2, be32], processName: [3, string] }),
)

/** NFNL_BATCH_GENID: the generation that the changes were made for. */
export const batchLayout = layout(table({ generation: [1, be32] }))
