import { CniError, codes } from '../../cni/error.ts'
import { filter, link, type NetlinkError, Netns, qdisc, type Request } from '../../netlink/index.ts'
import { INGRESS } from './place.ts'

/** Index of the link that is tried on. */
const PROBE = 2

/** What ADD needs, each with its module. Those without options of their own are tried as they come. */
const needs = (subnets: boolean): readonly (readonly [Request<void>, string])[] => [
  [link.add({ kind: 'ifb', name: 'probe', index: PROBE }), 'ifb'],
  [
    qdisc.add({
      index: PROBE,
      parent: 'root',
      handle: '1:',
      kind: 'tbf',
      data: { rate: 125_000n, limit: 10_000, buffer: qdisc.toTicks(10_000) },
    }),
    'sch_tbf',
  ],
  ...(subnets
    ? ([
        [qdisc.delete({ index: PROBE, parent: 'root' }), 'sch_tbf'],
        [
          qdisc.add({ index: PROBE, parent: 'root', handle: '1:', kind: 'htb', data: { defaultClass: 1 } }),
          'sch_htb',
        ],
      ] as const)
    : []),
  [qdisc.add({ index: PROBE, parent: 'ingress', handle: INGRESS, kind: 'ingress' }), 'sch_ingress'],
  [
    filter.add({
      index: PROBE,
      parent: INGRESS,
      priority: 1,
      protocol: 'all',
      kind: 'u32',
      data: { classid: '1:1', sel: filter.matchAll },
    }),
    'cls_u32',
  ],
  [
    filter.add({
      index: PROBE,
      parent: INGRESS,
      priority: 1,
      protocol: 'all',
      kind: 'u32',
      data: {
        classid: '1:1',
        sel: filter.matchAll,
        act: [{ kind: 'mirred', data: { to: 'egressRedir', index: PROBE } }],
      },
    }),
    'act_mirred',
  ],
]

const refuse = (module: string, cause: NetlinkError): CniError =>
  new CniError({
    code: codes.notAvailable,
    msg: `this kernel has no ${module}, which limits need`,
    details: `load it: modprobe ${module}; it said: ${cause.message}`,
    cause,
  })

/**
 * Tries everything in an empty namespace that goes with it. Modules are loaded as an ADD would load them.
 * @throws CniError code 50 where the kernel lacks something
 */
export const checkKernel = async (subnets: boolean): Promise<void> => {
  using netns = Netns.create()
  using connection = netns.connect()
  const all = needs(subnets)
  const outcomes = await connection.batch(all.map(([request]) => request))
  for (const [i, outcome] of outcomes.entries()) if (!outcome.ok) throw refuse(all[i]![1], outcome.error)
}
