/** Tables: the outermost container, one name space a family. */
import { dump, get, NLM_F, type Request } from '../request.ts'
import { type NfMessage, TABLE_F, tableLayout } from './attributes.ts'
import { type Family, familyName, NFT_MSG } from './constants.ts'
import { familyHeader, type Operation, operation, sequence } from './operation.ts'
import { commentUserdata, readComment } from './userdata.ts'

/** What names a table. */
export interface TableRef {
  readonly family: Family
  readonly table: string
}

export interface TableOptions extends TableRef {
  /** At most 128 bytes. Kernels before 5.10 do not keep it. */
  readonly comment?: string | undefined
  /** Leaves the table's base chains out of the packet path. */
  readonly dormant?: boolean | undefined
}

const add = (verb: 'add' | 'create', { family, table, comment, dormant }: TableOptions): Operation =>
  operation(tableLayout, {
    op: `${verb} table ${family} ${table}`,
    type: NFT_MSG.newTable,
    // nft does not set NLM_F_CREATE here, and the kernel does not ask for it.
    flags: verb === 'create' ? NLM_F.excl : 0,
    family,
    attributes: { table, flags: dormant ? TABLE_F.dormant : 0, userdata: commentUserdata(comment) },
  })

/** `nft add table FAMILY NAME`. One that exists already stays as it is, its comment too. */
export const addTable = (options: TableOptions): Operation => add('add', options)

/** `nft create table FAMILY NAME`: EEXIST when it is there. */
export const createTable = (options: TableOptions): Operation => add('create', options)

/** `nft delete table FAMILY NAME`, with everything in it. ENOENT when it is not there. */
export const deleteTable = ({ family, table }: TableRef): Operation =>
  operation(tableLayout, {
    op: `delete table ${family} ${table}`,
    type: NFT_MSG.delTable,
    family,
    attributes: { table },
  })

/**
 * Deletes the table if it is there: `nft destroy table FAMILY NAME`. Kernels have that only since 6.3; adding and then
 * deleting it in one transaction comes to the same everywhere.
 */
export const destroyTable = (ref: TableRef): Operation =>
  sequence(`destroy table ${ref.family} ${ref.table}`, [
    addTable({ family: ref.family, table: ref.table }),
    deleteTable(ref),
  ])

/** A table as the kernel lists it. */
export interface Table extends TableRef {
  readonly handle: bigint
  /** Chains and sets in it. */
  readonly use: number
  readonly dormant: boolean
  readonly comment: string | undefined
}

const toTable = ({ family, attributes }: NfMessage<typeof tableLayout>): Table | undefined => {
  const name = familyName(family)
  if (name === undefined || attributes.table === undefined) return undefined
  return {
    family: name,
    table: attributes.table,
    handle: attributes.handle ?? 0n,
    use: attributes.use ?? 0,
    dormant: ((attributes.flags ?? 0) & TABLE_F.dormant) !== 0,
    comment: readComment(attributes.userdata),
  }
}

/** `nft list tables [FAMILY]`. Tables of families this code does not know are left out. */
export const listTables = (family?: Family): Request<Table[]> =>
  dump(
    tableLayout,
    { op: `list tables${family ? ` ${family}` : ''}`, type: NFT_MSG.getTable, header: familyHeader(family) },
    toTable,
  )

/** One table. ENOENT when it is not there, or when this kernel loads nf_tables only with the first change. */
export const getTable = ({ family, table }: TableRef): Request<Table> => {
  const op = `list table ${family} ${table}`
  return get(
    tableLayout,
    { op, type: NFT_MSG.getTable, header: familyHeader(family), attributes: { table } },
    (message) => {
      const found = toTable(message)
      if (!found) throw new Error(`${op}: the kernel answered with another object`)
      return found
    },
  )
}
