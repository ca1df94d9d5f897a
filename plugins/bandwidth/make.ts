/** Makes the limits of an attachment, or brings those of an earlier ADD to what they are to be. */
import { CniError, codes } from '../../cni/error.ts'
import type { Attachment } from '../../cni/plugin.ts'
import { apply, type Step } from '../../cni/undo.ts'
import { filter, isErrno, type Link, link, NetlinkError, qdisc } from '../../netlink/index.ts'
import { freeIndex } from '../shared/container-link.ts'
import { ownerAlias, randomMac } from '../shared/identity.ts'
import { deleteLink } from '../shared/veth.ts'
import type { Limits } from './conf.ts'
import { ifbNames, ownedBy } from './ifb.ts'
import { INGRESS, isGone, type Looked, type Redirects, redirectsOf, refuseForeign } from './place.ts'
import { addQdisc, egressShape, ingressShape, shapeSteps } from './shape.ts'

/** An IFB of the attachment. */
interface Ifb {
  readonly name: string
  readonly index: number
  readonly address: string
  readonly mtu: number
  readonly isNew: boolean
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
  const targets = [...own.values()]
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
        // It needs no address of its own. Where IPv6 is off, it gets none anyway.
        { request: link.set(index, { afSpec: { inet6: { addrGenMode: 'none' } } }), tolerate: true },
        { request: link.set(index, { alias, up: true }) },
      ])
      return { name, index, address, mtu, isNew: true }
    } catch (error) {
      const op = error instanceof NetlinkError ? error.op : undefined
      // Another attachment of the container has just taken it.
      if (op === request.op && isErrno(error, 'EEXIST') && name !== names.own) continue
      throw error
    }
  }
}

/** What is redirected so far and no longer is to be: those of an earlier ADD, that led elsewhere. */
const clearRedirects = (index: number, { own }: Redirects, target: number): Step[] =>
  [...own].flatMap(([priority, to]) =>
    to === target
      ? []
      : [{ request: filter.delete({ index, parent: INGRESS, priority }), tolerate: ['ENOENT'] }],
  )

/** Equivalent: `tc filter add dev vethX parent ffff: pref 1 u32 match u32 0 0 flowid 1:1 action mirred egress redirect dev bwpX` */
const redirect = (index: number, target: number): Step => ({
  request: filter.add({
    index,
    parent: INGRESS,
    priority: 1,
    protocol: 'all',
    kind: 'u32',
    data: {
      classid: '1:1',
      sel: filter.matchAll,
      act: [{ kind: 'mirred', data: { to: 'egressRedir', index: target } }],
    },
  }),
})

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
  refuseForeign(end, redirects, { ingress: into !== null, egress: out !== null })
  const earlier = earlierIfb(attachment, looked, redirects)
  try {
    if (!out) {
      const clear = clearRedirects(index, redirects, -1)
      await apply(host, undo, [...shapeSteps(host, index, into, end.root), ...clear])
      if (earlier) await deleteLink(host, earlier.index)
      return null
    }
    const ifb = earlier ? { ...earlier, isNew: false } : await makeIfb(attachment, looked, mtu)
    const root = earlier && (await host.run(qdisc.get({ index: ifb.index, parent: 'root' })))
    const leads = [...redirects.own.values()].includes(ifb.index)
    const ingress = { index, parent: 'ingress', handle: INGRESS, kind: 'ingress' } as const
    await apply(host, undo, [
      ...shapeSteps(host, index, into, end.root),
      ...shapeSteps(host, ifb.index, out, root),
      ...(earlier && !earlier.up ? [{ request: link.set(ifb.index, { up: true }) }] : []),
      ...(end.ingress ? clearRedirects(index, redirects, ifb.index) : [addQdisc(host, ingress)]),
      // Last: from here on the packets go that way.
      ...(leads ? [] : [redirect(index, ifb.index)]),
    ])
    return ifb
  } catch (error) {
    throw isGone(error) || isErrno(error, 'EOPNOTSUPP') ? explain(error) : error
  }
}
