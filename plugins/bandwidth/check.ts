import type { Attachment } from '../../cni/plugin.ts'
import type { Result } from '../../cni/types.ts'
import { type Link, qdisc, sameMac } from '../../netlink/index.ts'
import { checkFailed, findLink } from '../shared/check.ts'
import type { Limits } from './conf.ts'
import { ownedBy } from './ifb.ts'
import { type HostEnd, type Looked, redirectsOf } from './place.ts'
import { differenceOf, egressShape, ingressShape, readShape, type Shape } from './shape.ts'

const checkShape = async (
  { host }: Attachment<unknown>,
  { index, name }: Link,
  shape: Shape,
  root: HostEnd['root'],
): Promise<void> => {
  const difference = differenceOf(shape, await readShape(host, index, root))
  if (!difference) return
  const [msg, details] = difference
  throw checkFailed(`${msg} of ${name}`, details)
}

/** The IFB that everything goes through that comes from the container. @throws CniError */
const checkRedirect = async (
  attachment: Attachment<unknown>,
  { interfaces = [] }: Result,
  end: HostEnd,
): Promise<Link> => {
  const { name } = end.link
  if (end.ingress?.kind !== 'ingress')
    throw checkFailed(`Failed to find qdisc ingress of ${name}`, `it has ${end.ingress?.kind ?? 'none'}`)
  const [first] = (await redirectsOf(attachment, end)).own
  if (!first) throw checkFailed(`Failed to find filter of ${name}`, 'what comes in is not redirected')
  const ifb = first.target === 0 ? null : await findLink(attachment.host, first.target)
  if (ifb?.kind !== 'ifb')
    throw checkFailed(
      `what comes in by ${name} is redirected to ${ifb ? ifb.name : 'a link that has gone'}`,
      'an IFB was made for it',
    )
  if (ownedBy(attachment, ifb) === false)
    throw checkFailed(`what comes in by ${name} is redirected to ${ifb.name}, which belongs to ${ifb.alias}`)
  const entry = interfaces.find((one) => !one.sandbox && one.name === ifb.name)
  if (!entry) throw checkFailed(`the result lists no interface ${ifb.name}`)
  if (entry.mac && !sameMac(entry.mac, ifb.address))
    throw checkFailed(`interface ${ifb.name} has MAC ${ifb.address}, the result says ${entry.mac}`)
  if (!ifb.up) throw checkFailed(`interface ${ifb.name} is down`)
  return ifb
}

/**
 * Both limits are in force, and nothing gets round them.
 * @throws CniError naming the first that differs
 */
export const checkLimits = async (
  attachment: Attachment<unknown>,
  result: Result,
  limits: Limits,
  { end }: Looked & { readonly end: HostEnd },
): Promise<void> => {
  const into = ingressShape(limits)
  const out = egressShape(limits)
  if (into) await checkShape(attachment, end.link, into, end.root)
  if (!out) return
  const ifb = await checkRedirect(attachment, result, end)
  const root = await attachment.host.run(qdisc.get({ index: ifb.index, parent: 'root' }))
  await checkShape(attachment, ifb, out, root)
}
