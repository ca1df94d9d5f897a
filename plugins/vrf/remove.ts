import { type Link, link } from '../../netlink/index.ts'
import { alone } from '../shared/alone.ts'
import { deleteLink } from '../shared/veth.ts'
import { type VrfAttachment, vrfAlias } from './conf.ts'

/** Whether a VRF was made for attachments: Go's give it no alias, and one that an operator has named so stays. */
const isMade = ({ alias }: Link, ours: boolean): boolean => alias === vrfAlias || (!alias && ours)

const leave = async ({ conf, container, ifName }: VrfAttachment): Promise<void> => {
  const links = await container.run(link.list())
  const own = links.find(({ name }) => name === ifName)
  const vrfs = links.filter(({ kind }) => kind === 'vrf')
  const within = vrfs.find(({ index }) => index === own?.master)
  const isOurs = (one: Link): boolean => one.name === conf.vrfname || one.alias === vrfAlias
  const leaves = within !== undefined && isOurs(within)
  if (own && leaves) await container.run(link.set(own.index, { master: null }))
  for (const one of vrfs) {
    const others = links.filter(({ master, index }) => master === one.index && index !== own?.index)
    const holdsOwn = own?.master === one.index && !leaves
    if (!isOurs(one) || others.length > 0 || holdsOwn) continue
    // An empty one without an alias, where the interface never was in it, may be an operator's.
    if (isMade(one, one === within || !own)) await deleteLink(container, one.index)
  }
}

/**
 * Takes the interface out of its VRF, and removes that with its last interface. Anything may be gone.
 * @throws CniError code 11 where another plugin is at work for too long; NetlinkError
 */
export const remove = async (attachment: VrfAttachment): Promise<void> => {
  // VRFs have gone with the namespace.
  if (attachment.netns) await alone(attachment, () => leave(attachment))
}
