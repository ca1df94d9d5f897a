/** Identifiers that a namespace has for others: what `linkNetnsId` of a link refers to. */
import { struct, table } from './codec/table.ts'
import { s32, u32 } from './codec/types.ts'
import { type NamespaceRef, namespaceAttributes, namespaceFd } from './link/namespace.ts'
import { change, get as getOne, type Request } from './request.ts'

const RTM_NEWNSID = 88
const RTM_GETNSID = 90

/** `struct rtgenmsg` and `NETNSA_*`, linux/net_namespace.h. */
export const nsidLayout = {
  header: struct({ family: 'u8', pad: [3] }),
  attributes: table({
    nsid: [1, s32],
    pid: [2, u32],
    fd: [3, namespaceFd],
    targetNsid: [4, s32],
    currentNsid: [5, s32],
  }),
} as const

const refer = (netns: NamespaceRef) => {
  const { netNsFd, netNsPid } = namespaceAttributes(netns)
  return { fd: netNsFd, pid: netNsPid }
}

/** The identifier of a namespace; undefined while it has none. Equivalent: `ip netns list-id`. Errors: EINVAL. */
export const get = (netns: NamespaceRef): Request<number | undefined> =>
  getOne(
    nsidLayout,
    { op: 'get namespace id', type: RTM_GETNSID, attributes: refer(netns) },
    ({ attributes: { nsid } }) => (nsid === undefined || nsid < 0 ? undefined : nsid),
  )

/**
 * Gives a namespace an identifier; -1 lets the kernel choose. Equivalent: `ip netns set NS ID`. Errors: EEXIST (it has
 * one), EBUSY (ID is another's).
 */
export const set = (netns: NamespaceRef, id = -1): Request<void> =>
  change(nsidLayout, {
    op: `set namespace id ${id}`,
    type: RTM_NEWNSID,
    attributes: { nsid: id, ...refer(netns) },
  })
