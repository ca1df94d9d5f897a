/** `macvlan`: an interface of its own MAC on the master's segment. */
import * as z from 'zod/mini'
import { invalidConfig } from '../cni/error.ts'
import { commonConf, flag, mac, rule, text, uint32 } from '../cni/schema.ts'
import type { BriefLink } from '../netlink/index.ts'
import { checkFacts, type Fact } from './shared/check.ts'
import { defineContainerLink } from './shared/container-link.ts'
import { randomMac } from './shared/identity.ts'
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
import { macOf } from './shared/mac.ts'

const modes = ['bridge', 'private', 'vepa', 'passthru'] as const
type Mode = (typeof modes)[number]
const isMode = (value: string): value is Mode => (modes as readonly string[]).includes(value)

/** Every key of the macvlan plugin. */
export const macvlanConf = z.object({
  ...commonConf,
  /** The lower interface. Default: that of the default route. */
  master: z._default(text, ''),
  /** Which of the master's macvlans reach each other. `bridge`: all; `passthru`: one alone on the master. */
  mode: z._default(
    z.string().check(
      rule(
        (value) => value === '' || isMode(value),
        (value) => `unknown macvlan mode: ${JSON.stringify(value)}`,
      ),
    ),
    'bridge',
  ),
  /** 0: the master's. */
  mtu: lowerMtuKey,
  mac: z.optional(mac),
  /** The master is an interface of the container. */
  linkInContainer: flag,
  /** Broadcast packets waiting for delivery. 0: the kernel's default, 1000. */
  bcqueuelen: z._default(uint32, 0),
})

/** As Go has it, the empty text is the default. */
const modeOf = (mode: string): Mode => (isMode(mode) ? mode : 'bridge')

/** What errors of the kernel mean when the link is made. */
const reasons = ({ name, master, type }: BriefLink): Reasons => ({
  EBUSY:
    master === undefined
      ? `${name} carries ipvlan interfaces: macvlan and ipvlan exclude each other on one master`
      : `${name} is a port of another interface (index ${master}), and can carry no macvlan`,
  ...(type === 'ether'
    ? {
        EINVAL: `${name} has a macvlan in mode passthru, or others while this one was to be passthru: such a one has to be alone on its master`,
      }
    : {}),
})

/** What they mean when it is brought up. */
const upReasons = ({ name }: BriefLink): Reasons => ({
  EADDRINUSE: `its MAC is that of another macvlan on ${name}, or of ${name} itself`,
})

/** Of anything that looks like Ethernet; ETH_MIN_MTU, linux/if_ether.h. */
const MIN_MTU = 68

/** @throws CniError code 7 */
const mtuOf = ({ mtu: wanted }: z.infer<typeof macvlanConf>, master: BriefLink): number => {
  const mtu = lowerMtu(wanted, master)
  if (mtu >= MIN_MTU) return mtu
  throw invalidConfig(
    `invalid MTU ${mtu}, must be [0, master MTU(${master.mtu})]`,
    `the kernel wants ${MIN_MTU} at least; 0 means the master's`,
  )
}

/** The macvlan plugin. */
export const macvlan = defineContainerLink({
  type: 'macvlan',
  conf: macvlanConf,
  async plan(attachment) {
    const { conf } = attachment
    const mac = macOf(attachment)
    // Read now: what is wrong with IPAM is to be refused here, too.
    void attachment.ipam
    const master = await findMaster(attachment)
    return { mac, master, mtu: mtuOf(conf, master) }
  },
  make(attachment, { mac, master, mtu }) {
    const { conf } = attachment
    const mode = modeOf(conf.mode)
    const data = { mode, bcQueueLen: conf.bcqueuelen || undefined }
    // A passthru has its master's MAC, and gives it the one that is asked for; the kernel gives that back afterwards.
    const inheritsMac = mode === 'passthru'
    const address = mac || (inheritsMac ? '' : randomMac())
    return addLower(
      attachment,
      { master, kind: { kind: 'macvlan', data }, mac: address, mtu, inheritsMac },
      reasons(master),
    )
  },
  explain: (error, { master }) => explainLink(error, 'macvlan', master, upReasons(master)),
  async check(attachment, found) {
    const { conf } = attachment
    const data = found.kind === 'macvlan' ? found.data : undefined
    const facts: readonly Fact[] = [
      ['mode', data?.mode, modeOf(conf.mode)],
      ['bcqueuelen', data?.bcQueueLen, conf.bcqueuelen || undefined],
    ]
    checkFacts(found, facts)
    await checkMaster(attachment, found)
  },
  async status(context) {
    const master = await checkLower(context, 'macvlan')
    if (master) mtuOf(context.conf, master)
  },
})
