/** Makes the limits of an attachment, or brings those of an earlier ADD to what they are to be. */
import { CniError, codes } from '../../cni/error.ts'
import type { Attachment } from '../../cni/plugin.ts'
import { apply, type Step } from '../../cni/undo.ts'
import {
  type Connection,
  filter,
  isErrno,
  type Link,
  link,
  NetlinkError,
  qdisc,
} from '../../netlink/index.ts'
import { freeIndex } from '../shared/container-link.ts'
import { ownerAlias, randomMac } from '../shared/identity.ts'
import { deleteLink, withoutLinkLocal } from '../shared/veth.ts'
import type { Limits } from './conf.ts'
import { ifbNames, ownedBy } from './ifb.ts'
import { INGRESS, isGone, type Looked, type Redirects, redirectsOf, refuseForeign } from './place.ts'
import { addQdisc, egressShape, ingressShape, type Shape, shapeSteps } from './shape.ts'

/** An IFB of the attachment. */
interface Ifb {
  readonly name: string
  readonly index: number
  readonly address: string
  readonly mtu: number
}

const modules = 'modprobe ifb sch_tbf sch_htb sch_ingress cls_u32 act_mirred'

/** What an error of the kernel means that says no more than that there is no such thing. */
const explain = (error: unknown): unknown => {
  if (!(error instanceof NetlinkError)) return error
  const { op, code, message: msg } = error
  const missing =
    (code === 'EOPNOTSUPP' && op.startsWith('add link')) ||
    (code === 'ENOENT' && /^add (qdisc|filter)/.test(op))
  if (!missing) return error
  const details = `this kernel lacks a module that limits need: ${modules}`
  return new CniError({ code: codes.internal, msg, details, cause: error })
}

/** An IFB of an earlier ADD: the one that says so, or the Go plugin's that the attachment's traffic goes through. */
const earlierIfb = (
  attachment: Attachment<unknown>,
  { ifbs }: Looked,
  { own }: Redirects,
): Link | undefined => {
  const targets = own.map(({ target }) => target)
  return [ifbs.own, ifbs.shared].find(
    (found): found is Link => found !== null && (ownedBy(attachment, found) ?? targets.includes(found.index)),
  )
}

/**
 * Makes an IFB, with its alias and up. Equivalent: `ip link add bwpX mtu N txqueuelen 0 type ifb; ip link set bwpX alias A
 * addrgenmode none up`.
 */
const makeIfb = async (attachment: Attachment<unknown>, { ifbs }: Looked, mtu: number): Promise<Ifb> => {
  const { host, undo, network } = attachment
  const names = ifbNames(network, attachment)
  const alias = ownerAlias(network, attachment)
  const address = randomMac()
  for (let name = ifbs.shared ? names.own : names.shared; ; name = names.own) {
    const index = await freeIndex(host)
    const request = link.add({ kind: 'ifb', name, index, mtu, address, txQueueLength: 0 })
    try {
      await apply(host, undo, [
        { request, undo: [`delete ${name}`, () => deleteLink(host, index)] },
        withoutLinkLocal(index),
        { request: link.set(index, { alias, up: true }) },
      ])
      return { name, index, address, mtu }
    } catch (error) {
      const op = error instanceof NetlinkError ? error.op : undefined
      // Another attachment of the container has just taken it.
      if (op === request.op && isErrno(error, 'EEXIST') && name !== names.own) continue
      throw error
    }
  }
}

/** Equivalent: `tc filter add dev vethX parent ffff: pref 1 u32 match u32 0 0 flowid 1:1 action mirred egress redirect dev bwpX` */
const redirect = (host: Connection, index: number, target: number): Step => {
  const where = { index, parent: INGRESS, priority: 1, protocol: 'all' } as const
  const request = filter.add({
    ...where,
    kind: 'u32',
    data: {
      classid: '1:1',
      sel: filter.matchAll,
      act: [{ kind: 'mirred', data: { to: 'egressRedir', index: target } }],
    },
  })
  const undo = async (): Promise<void> => {
    const [outcome] = await host.batch([filter.delete(where)])
    if (!outcome.ok && !isGone(outcome.error)) throw outcome.error
  }
  return { request, undo: [`delete the filter of link ${index}`, undo] }
}

const ingressOf = (index: number) => ({ index, parent: 'ingress', handle: INGRESS, kind: 'ingress' }) as const

/** The limit of the IFB; one of an earlier ADD may have been changed since. */
const outward = async (
  attachment: Attachment<unknown>,
  shape: Shape,
  { index, mtu }: Ifb,
  earlier: Link | undefined,
): Promise<Step[]> => {
  const { host, network } = attachment
  if (!earlier) return shapeSteps(host, index, shape, undefined)
  const root = await host.run(qdisc.get({ index, parent: 'root' }))
  const alias = ownerAlias(network, attachment)
  return [{ request: link.set(index, { alias, mtu, up: true }) }, ...shapeSteps(host, index, shape, root)]
}

/** A filter that leads to an IFB that has gone makes room. */
const redirectSteps = (host: Connection, index: number, { own }: Redirects, target: number): Step[] => {
  const leads = own.some((one) => one.target === target)
  const dead = own.filter((one) => one.target === 0)
  return [
    ...dead.map(({ selection }) => ({ request: filter.delete(selection) })),
    ...(leads ? [] : [redirect(host, index, target)]),
  ]
}

/**
 * @returns the IFB, for the result; null where what leaves the container is not limited
 * @throws CniError, NetlinkError
 */
export const makeLimits = async (
  attachment: Attachment<unknown>,
  limits: Limits,
  looked: Looked & { readonly end: NonNullable<Looked['end']> },
): Promise<Ifb | null> => {
  const { host, undo } = attachment
  const { end } = looked
  const { index, mtu } = end.link
  const into = ingressShape(limits)
  const out = egressShape(limits)
  const redirects = await redirectsOf(attachment, end)
  const earlier = out ? earlierIfb(attachment, looked, redirects) : undefined
  refuseForeign(end, redirects, into !== null, out !== null, earlier)
  try {
    const inward = into ? shapeSteps(host, index, into, end.root) : []
    if (!out) {
      await apply(host, undo, inward)
      return null
    }
    const ifb = earlier ? { ...earlier, mtu } : await makeIfb(attachment, looked, mtu)
    await apply(host, undo, [
      ...inward,
      ...(await outward(attachment, out, ifb, earlier)),
      ...(end.ingress ? [] : [addQdisc(host, ingressOf(index))]),
      // Last: from here on the packets go that way.
      ...redirectSteps(host, index, redirects, ifb.index),
    ])
    return ifb
  } catch (error) {
    throw explain(error)
  }
}
