/** Stateful objects with a name. Of their kinds, counters have functions here. */
import { dump, type Request } from '../request.ts'
import { type NfMessage, objectLayout } from './attributes.ts'
import { type Family, familyName, NFT_MSG } from './constants.ts'
import { familyHeader, type Operation, operation, verbFlags } from './operation.ts'
import type { TableRef } from './table.ts'
import { commentUserdata, readComment } from './userdata.ts'

/** `NFT_OBJECT_COUNTER` */
const COUNTER = 1

export interface CounterRef extends TableRef {
  readonly counter: string
}

/** `nft add counter FAMILY TABLE NAME [{ packets N bytes N }]`. One that exists stays as it is. */
export const addCounter = ({
  family,
  table,
  counter,
  packets = 0n,
  bytes = 0n,
  comment,
}: CounterRef & {
  readonly packets?: bigint | undefined
  readonly bytes?: bigint | undefined
  readonly comment?: string | undefined
}): Operation =>
  operation(objectLayout, {
    op: `add counter ${family} ${table} ${counter}`,
    type: NFT_MSG.newObj,
    flags: verbFlags.add,
    family,
    attributes: {
      table,
      name: counter,
      type: COUNTER,
      userdata: commentUserdata(comment),
      data: { bytes, packets },
    },
  })

/** `nft delete counter FAMILY TABLE NAME`. ENOENT when it is not there, EBUSY while a rule uses it. */
export const deleteCounter = ({ family, table, counter }: CounterRef): Operation =>
  operation(objectLayout, {
    op: `delete counter ${family} ${table} ${counter}`,
    type: NFT_MSG.delObj,
    family,
    attributes: { table, name: counter, type: COUNTER },
  })

/** A counter as the kernel lists it. */
export interface Counter extends CounterRef {
  readonly handle: bigint
  readonly packets: bigint
  readonly bytes: bigint
  readonly comment: string | undefined
}

const toCounter = ({ family, attributes }: NfMessage<typeof objectLayout>): Counter | undefined => {
  const known = familyName(family)
  const { table: inTable, name, type, data, handle, userdata } = attributes
  if (known === undefined || inTable === undefined || name === undefined || type !== COUNTER) return undefined
  return {
    family: known,
    table: inTable,
    counter: name,
    handle: handle ?? 0n,
    packets: data?.packets ?? 0n,
    bytes: data?.bytes ?? 0n,
    comment: readComment(userdata),
  }
}

/** `nft list counters`. An empty list where the table is missing. */
export const listCounters = (filter: { family?: Family; table?: string } = {}): Request<Counter[]> =>
  dump(
    objectLayout,
    {
      op: ['list counters', filter.family, filter.table].filter(Boolean).join(' '),
      type: NFT_MSG.getObj,
      header: familyHeader(filter.family),
      attributes: { table: filter.table, type: COUNTER },
    },
    toCounter,
  )
