/** `dummy`: an interface that leads nowhere, for addresses that the container is to have. */
import * as z from 'zod/mini'
import { invalidConfig } from '../cni/error.ts'
import type { Context } from '../cni/plugin.ts'
import { commonConf } from '../cni/schema.ts'
import { apply } from '../cni/undo.ts'
import { link } from '../netlink/index.ts'
import { claim, defineContainerLink, explainClaim, freeIndex } from './shared/container-link.ts'
import { randomMac, vethName } from './shared/identity.ts'
import { checkKind, explainLink } from './shared/lower.ts'
import { deleteLink } from './shared/veth.ts'

/** Every key of the dummy plugin: it has none of its own. */
export const dummyConf = z.object({ ...commonConf })

/** What the kernel gives it, as all of Ethernet's kind. */
const MTU = 1500

/** @throws CniError code 7 */
const requireIpam = ({ ipam }: Context<unknown>): void => {
  if (!ipam)
    throw invalidConfig(
      'dummy interface requires an IPAM configuration',
      'without addresses it would be of no use: name an IPAM plugin in ipam.type',
    )
}

/** The dummy plugin. */
export const dummy = defineContainerLink({
  type: 'dummy',
  conf: dummyConf,
  // Nobody else is there to be asked.
  shared: () => false,
  plan: async (attachment) => requireIpam(attachment),
  async make(attachment) {
    const { container, undo, ifName } = attachment
    const index = await freeIndex(container)
    const mac = randomMac()
    const request = link.add({ kind: 'dummy', name: vethName(), index, address: mac })
    try {
      await apply(container, undo, [
        { request, undo: [`delete ${ifName}`, () => deleteLink(container, index)] },
        ...claim(attachment, index),
      ])
    } catch (error) {
      throw explainLink(explainClaim(error, 'dummy', ifName, index), 'dummy', null)
    }
    return { index, mac, mtu: MTU }
  },
  async status(context) {
    requireIpam(context)
    await checkKind('dummy')
  },
})
