import type { Reader } from '../codec/reader.ts'
import { dump, type Request } from '../request.ts'
import { ifinfomsg, RTEXT_FILTER } from './attributes.ts'
import { linkLayout } from './layout.ts'

const RTM_GETLINK = 18
/** IFLA_INFO_KIND */
const KIND = 1

/** What {@link listNames} tells of a link. */
export interface LinkNames {
  readonly index: number
  readonly name: string
  readonly alias: string | undefined
}

const { ifname, ifalias, linkinfo } = linkLayout.attributes.rows
const [NAME, readName] = ifname
const [ALIAS, readAlias] = ifalias
const [INFO] = linkinfo

const kindOf = (payload: Reader): string | undefined => {
  for (const at = payload.attributes(); at.next(); ) if (at.type === KIND) return readAlias.read(at.payload)
  return undefined
}

const read = (payload: Reader, wanted: string): LinkNames | undefined => {
  let name = ''
  let alias: string | undefined
  let kind: string | undefined
  for (const at = payload.attributes(ifinfomsg.size); at.next(); )
    if (at.type === NAME) name = readName.read(at.payload)
    else if (at.type === ALIAS) alias = readAlias.read(at.payload)
    else if (at.type === INFO) kind = kindOf(at.payload)
  // The kernel filters, but not by a kind whose module is not loaded: then it gives all.
  return kind === wanted ? { index: ifinfomsg.read(payload).index, name, alias } : undefined
}

/**
 * Names and aliases of all links of a kind: a fraction of the work that a list of links is, where a host has hundreds.
 * Equivalent: `ip link show type KIND`.
 */
export const listNames = (kind: string): Request<LinkNames[]> => ({
  ...dump(
    linkLayout,
    {
      op: `list names of links of kind ${kind}`,
      type: RTM_GETLINK,
      attributes: { extMask: RTEXT_FILTER.skipStats, linkinfo: { own: { kind } } },
    },
    () => undefined,
  ),
  read: (messages) => messages.flatMap(({ payload }) => read(payload, kind) ?? []),
})
