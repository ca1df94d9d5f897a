/** `ipvlan`: an interface with addresses of its own, but the master's MAC. */
import * as z from 'zod/mini'
import { invalidConfig } from '../cni/error.ts'
import type { Attachment, Context } from '../cni/plugin.ts'
import { commonConf, flag, rule, text } from '../cni/schema.ts'
import type { Result } from '../cni/types.ts'
import type { BriefLink } from '../netlink/index.ts'
import { checkFacts } from './shared/check.ts'
import { defineContainerLink } from './shared/container-link.ts'
import {
  addLower,
  checkLower,
  checkMaster,
  explainLink,
  findMaster,
  lowerMtu,
  lowerMtuKey,
  type Reasons,
} from './shared/lower.ts'

const modes = ['l2', 'l3', 'l3s'] as const
const flags = ['bridge', 'private', 'vepa'] as const

/** A key with a few values, the first of which is the default; as Go has it, the empty text is, too. */
const oneOf = (key: string, values: readonly string[]) =>
  z._default(
    z.string().check(
      rule(
        (value) => value === '' || values.includes(value),
        (value) => `unknown ipvlan ${key}: ${JSON.stringify(value)}`,
      ),
    ),
    values[0]!,
  )

/** Every key of the ipvlan plugin. */
export const ipvlanConf = z.object({
  ...commonConf,
  /** The lower interface. Default: the only one in prevResult, or that of the default route. */
  master: z._default(text, ''),
  /** Whether the master's segment is the container's (`l2`), or the host routes for it (`l3`; `l3s` with netfilter). */
  mode: oneOf('mode', modes),
  /** Which of the master's ipvlans reach each other. `bridge`: all. Go has no such key. */
  flag: oneOf('flag', flags),
  /** 0: the master's. */
  mtu: lowerMtuKey,
  /** The master is an interface of the container. */
  linkInContainer: flag,
})
type Own = Attachment<z.infer<typeof ipvlanConf>>

const modeOf = (mode: string) => modes.find((one) => one === mode) ?? 'l2'
const flagOf = (value: string) => flags.find((one) => one === value) ?? 'bridge'

/** Addresses of an earlier plugin of the chain, where there is no IPAM of this one's own. */
const fromChain = ({ ipam, prevResult }: Own): Result | null =>
  !ipam && prevResult?.ips?.length ? prevResult : null

/** In the l3 modes the host routes, and so fragments. @throws CniError code 7 */
const mtuOf = ({ mode, mtu }: Own['conf'], master: BriefLink): number =>
  modeOf(mode) === 'l2' ? lowerMtu(mtu, master) : mtu || master.mtu

/** The name of the master; empty: that of the default route. @throws CniError */
const masterName = ({ conf, prevResult }: Own): string => {
  if (conf.master !== '' || !prevResult) return conf.master
  const [only, ...more] = prevResult.interfaces ?? []
  if (only?.name && more.length === 0) return only.name
  throw invalidConfig(
    'chained master failure. PrevResult lacks a single named interface',
    'name the interface in "master"',
  )
}

/** In the l3 modes the interface neither asks nor answers by ARP, and no broadcast passes. @throws CniError */
const refuseDhcp = ({ ipam }: Context<unknown>, mode: string): void => {
  if (mode !== 'l2' && ipam?.type === 'dhcp')
    throw invalidConfig(
      `IPAM plugin "dhcp" can not work in ipvlan mode ${mode}`,
      'no broadcast passes there: use mode l2, or host-local or static',
    )
}

/** @throws CniError */
const checkIpam = (attachment: Own, mode: string): void => {
  refuseDhcp(attachment, mode)
  if (mode !== 'l2' && !attachment.ipam && !fromChain(attachment))
    throw invalidConfig(
      `ipvlan mode ${mode} requires an IPAM configuration`,
      'the host finds such a container by its addresses only; without ipam only mode l2 works',
    )
}

const reasons = ({ name, master }: BriefLink): Reasons => ({
  EBUSY:
    master === undefined
      ? `${name} carries macvlan interfaces: macvlan and ipvlan exclude each other on one master`
      : `${name} is a port of another interface (index ${master}), and can carry no ipvlan`,
})

const newest = 'all ipvlan interfaces of a master have the mode and the flag of the one that was made last'

/** The ipvlan plugin. */
export const ipvlan = defineContainerLink({
  type: 'ipvlan',
  ownMac: false,
  conf: ipvlanConf,
  // In the l3 modes the interface is NOARP: nobody is to be asked, nor told.
  shared: ({ mode }) => modeOf(mode) === 'l2',
  assigned: fromChain,
  async plan(attachment) {
    const { conf } = attachment
    const mode = modeOf(conf.mode)
    // Read now: what is wrong with IPAM is to be refused here, too.
    void attachment.ipam
    checkIpam(attachment, mode)
    const master = await findMaster(attachment, masterName(attachment))
    return { mode, master, mtu: mtuOf(conf, master) }
  },
  make(attachment, { mode, master, mtu }) {
    const own = flagOf(attachment.conf.flag)
    const data = { mode, flags: { private: own === 'private', vepa: own === 'vepa' } }
    return addLower(attachment, { master, kind: { kind: 'ipvlan', data }, mac: '', mtu }, reasons(master))
  },
  explain: (error, { master }) =>
    explainLink(error, 'ipvlan', master, {
      EADDRINUSE: `another ipvlan interface of ${master.name} has this address`,
    }),
  async check(attachment, found) {
    const { conf } = attachment
    const { mode, flags } = (found.kind === 'ipvlan' ? found.data : undefined) ?? {}
    const own = flags?.private ? 'private' : flags?.vepa ? 'vepa' : 'bridge'
    checkFacts(found, [
      ['mode', mode, modeOf(conf.mode), newest],
      ['flag', own, flagOf(conf.flag), newest],
    ])
    await checkMaster(attachment, found)
  },
  async status(context) {
    refuseDhcp(context, modeOf(context.conf.mode))
    const master = await checkLower(context, 'ipvlan', true)
    if (master) mtuOf(context.conf, master)
  },
})
