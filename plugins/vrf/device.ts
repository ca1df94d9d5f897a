/** The VRF itself. */
import { CniError, codes, invalidConfig } from '../../cni/error.ts'
import type { Step } from '../../cni/undo.ts'
import { isLinkName, type Link, link, route, rule } from '../../netlink/index.ts'
import { alone } from '../shared/alone.ts'
import { freeIndex } from '../shared/container-link.ts'
import { freeTables } from '../shared/tables.ts'
import { deleteLink } from '../shared/veth.ts'
import { type VrfAttachment, vrfAlias } from './conf.ts'

/** Whether a link is a VRF, and which table is its. */
export const vrfTable = (found: Link): number | undefined =>
  found.kind === 'vrf' ? (found.data?.table ?? 0) : undefined

/** @throws CniError code 7 where there is no name, or one that the kernel would not take */
export const checkName = ({ conf }: Pick<VrfAttachment, 'conf'>): void => {
  const { vrfname: name } = conf
  if (name === '') throw invalidConfig('configuration is expected to have a valid vrf name')
  if (!isLinkName(name))
    throw invalidConfig(
      `invalid vrf name: ${JSON.stringify(name)}`,
      'at most 15 bytes without "/", ":", "%" and white space',
    )
}

export interface Vrf {
  readonly index: number
  readonly table: number
  /** What makes it; nothing where it was there. */
  readonly steps: readonly Step[]
}

/** Where others have come to use it in the meantime it stays. */
const unmake = (attachment: VrfAttachment, index: number) => (): Promise<void> =>
  alone(attachment, async () => {
    const { container } = attachment
    const members = await container.run(link.list({ master: index }))
    if (members.length === 0) await deleteLink(container, index)
  })

const chooseTable = async ({ conf, container }: VrfAttachment, links: readonly Link[]): Promise<number> => {
  if (conf.table !== 0) return conf.table
  const rules = await container.run(rule.list())
  const routes = await container.run(route.list())
  return freeTables({ rules, routes, links }, 1, 1)[0]!
}

/**
 * The VRF that the configuration names, or what makes it. Equivalent: `ip link add NAME up type vrf table N`.
 * @throws CniError where another link has its name, or it has another table
 */
export const planVrf = async (attachment: VrfAttachment, links: readonly Link[]): Promise<Vrf> => {
  const { conf, container } = attachment
  const { vrfname: name } = conf
  const found = links.find((one) => one.name === name || one.altNames.includes(name))
  if (found) {
    const table = vrfTable(found)
    if (table === undefined)
      throw new CniError({
        code: codes.internal,
        msg: `cmdAdd failed: Netlink ${name} is not a VRF`,
        details: `the container has an interface of that name: ${found.kind ?? 'hardware'}`,
      })
    if (conf.table !== 0 && conf.table !== table)
      throw new CniError({
        code: codes.internal,
        msg: `cmdAdd failed: VRF ${name} already exist with different routing table ${table}`,
        details: `the configuration says ${conf.table}; without "table" the VRF's is taken`,
      })
    return { index: found.index, table, steps: [] }
  }
  const table = await chooseTable(attachment, links)
  const index = await freeIndex(container)
  const request = link.add({ kind: 'vrf', name, index, up: true, data: { table } })
  return {
    index,
    table,
    steps: [
      { request, undo: [`delete VRF ${name}`, unmake(attachment, index)] },
      { request: link.set(index, { alias: vrfAlias }) },
    ],
  }
}
