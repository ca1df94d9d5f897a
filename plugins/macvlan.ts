/** `macvlan`: an interface of its own MAC on the master's segment. */
import * as z from 'zod/mini'
import { invalidConfig } from '../cni/error.ts'
import { commonConf, flag, int, mac, rule, text, uint32 } from '../cni/schema.ts'
import type { Link } from '../netlink/index.ts'
import { checkFailed } from './shared/check.ts'
import { defineContainerLink } from './shared/container-link.ts'
import { randomMac } from './shared/identity.ts'
import { addLower, checkLower, explainLink, findMaster, lowerMtu, type Reasons } from './shared/lower.ts'
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
  mtu: z._default(int, 0),
  mac: z.optional(mac),
  /** The master is an interface of the container. */
  linkInContainer: flag,
  /** Broadcast packets waiting for delivery. 0: the kernel's default, 1000. */
  bcqueuelen: z._default(uint32, 0),
})

/** As Go has it, the empty text is the default. */
const modeOf = (mode: string): Mode => (isMode(mode) ? mode : 'bridge')

const reasons = ({ name, master }: Link): Reasons => ({
  EBUSY:
    master === undefined
      ? `${name} carries ipvlan interfaces: macvlan and ipvlan exclude each other on one master`
      : `${name} is a port of another interface (index ${master}), and can carry no macvlan`,
  EINVAL: `${name} has a macvlan in mode passthru, or others while this one was to be passthru: such a one has to be alone on its master`,
})

/** The macvlan plugin. */
export const macvlan = defineContainerLink({
  type: 'macvlan',
  conf: macvlanConf,
  async plan(attachment) {
    const { conf } = attachment
    const mac = macOf(attachment)
    if (conf.mtu < 0) throw invalidConfig(`invalid MTU ${conf.mtu}, must be [0, master MTU]`)
    // Read now: what is wrong with IPAM is to be refused here, too.
    void attachment.ipam
    const master = await findMaster(attachment)
    return { mac, master, mtu: lowerMtu(conf.mtu, master) }
  },
  make(attachment, { mac, master, mtu }) {
    const { conf } = attachment
    const mode = modeOf(conf.mode)
    const data = { mode, bcQueueLen: conf.bcqueuelen || undefined }
    // A passthru has its master's MAC.
    const address = mac || (mode === 'passthru' ? '' : randomMac())
    return addLower(
      attachment,
      { master, kind: { kind: 'macvlan', data }, mac: address, mtu },
      reasons(master),
    )
  },
  explain: (error, { master }) => explainLink(error, 'macvlan', master, {}),
  async check({ conf }, found) {
    const have = found.kind === 'macvlan' ? found.data?.mode : undefined
    const want = modeOf(conf.mode)
    if (have !== want)
      throw checkFailed(`interface ${found.name} is in mode ${have}, the configuration says ${want}`)
    if (conf.mtu !== 0 && conf.mtu !== found.mtu)
      throw checkFailed(`interface ${found.name} has MTU ${found.mtu}, the configuration says ${conf.mtu}`)
  },
  status: (context) => checkLower(context, 'macvlan'),
})
