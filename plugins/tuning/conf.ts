/** What a tuning configuration asks for, from its four places. */
import { isAbsolute } from 'node:path'
import * as z from 'zod/mini'
import { invalidConfig } from '../../cni/error.ts'
import type { Attachment } from '../../cni/plugin.ts'
import { argsOf, commonConf, expects, flag, mac, mtu, text, uint32 } from '../../cni/schema.ts'
import { requestedMac } from '../shared/mac.ts'
import type { LinkSettings } from './link-settings.ts'
import { sysctlPath } from './sysctl-names.ts'

/** Where originals are kept unless `dataDir` says otherwise; the Go plugin's folder. */
export const defaultDataDir = '/run/cni/tuning'

const sysctl = z.record(z.string(), z.string())

/** Every key of the tuning plugin. */
export const tuningConf = z.object({
  ...commonConf,
  /** Settings of the container's namespace: see {@link sysctlPath} for how they are named. Written in this order. */
  sysctl: z._default(sysctl, {}),
  mac: z.optional(mac),
  /** True makes the interface promiscuous; false leaves it as it is. */
  promisc: flag,
  /** Bytes; 0 leaves it as it is. */
  mtu: z._default(mtu, 0),
  /** Receives all multicast packets. Absent: left as it is. */
  allmulti: z.optional(z.boolean()),
  /** Packets. Absent: left as it is. */
  txQLen: z.optional(uint32),
  /** Where original values are kept until DEL gives them back. Empty: `/run/cni/tuning`. */
  dataDir: z._default(
    text.check(
      expects((value) => value === '' || (isAbsolute(value) && !value.includes('\0')), 'absolute path'),
    ),
    '',
  ),
  /** What a runtime asks for takes the place of the keys above; sysctls are added. */
  args: argsOf({
    sysctl: z.optional(sysctl),
    mac: z.optional(mac),
    promisc: z.optional(z.boolean()),
    mtu: z.optional(mtu),
    allmulti: z.optional(z.boolean()),
    txQLen: z.optional(uint32),
  }),
})

export type TuningConf = z.infer<typeof tuningConf>

/** A sysctl as it is asked for, and where that is. */
export interface Sysctl {
  /** As the configuration has it. */
  readonly key: string
  /** Below `/proc/sys/`. */
  readonly path: string
  readonly value: string
}

/** What is to be as the configuration says; the rest is left alone. */
export interface Wanted {
  readonly link: LinkSettings
  /** In the order in which they are written; no path twice. */
  readonly sysctls: readonly Sysctl[]
}

/** One place's sysctls by path. @throws CniError code 7 for a name that is none, or two values for one setting */
const byPath = (settings: Readonly<Record<string, string>>, ifName: string): Map<string, Sysctl> => {
  const found = new Map<string, Sysctl>()
  for (const [key, value] of Object.entries(settings)) {
    const path = sysctlPath(key, ifName)
    if (path === null)
      throw invalidConfig(
        `invalid net sysctl key: ${JSON.stringify(key)}`,
        'it has to be below net., like net.ipv4.conf.IFNAME.arp_filter',
      )
    const other = found.get(path)
    if (other && other.value !== value)
      throw invalidConfig(
        'duplicated sysctl keys are not allowed',
        `${other.key} and ${key} are one setting, and want different values`,
      )
    if (!other) found.set(path, { key, path, value })
  }
  return found
}

/**
 * What is asked for. Of several sources of a MAC the last wins: `mac`, `MAC` of CNI_ARGS, `runtimeConfig.mac`,
 * `args.cni.mac` (an empty one takes back what the others ask for).
 * @throws CniError code 4 for malformed CNI_ARGS, 7 for what can not be
 */
export const wantedOf = ({
  conf,
  args,
  ifName,
}: Pick<Attachment<TuningConf>, 'conf' | 'args' | 'ifName'>): Wanted => {
  // CNI_ARGS is read in any case, so that its mistakes are found.
  const { MAC } = args.pick(['MAC'])
  const cni = conf.args?.cni ?? {}
  const asked = cni.mac ?? [conf.mac, MAC, conf.runtimeConfig?.mac].findLast((one) => one) ?? ''
  const sysctls = byPath(conf.sysctl, ifName)
  for (const [path, own] of byPath(cni.sysctl ?? {}, ifName)) sysctls.set(path, own)
  return {
    link: {
      mac: requestedMac(asked) || undefined,
      promisc: (cni.promisc ?? conf.promisc) || undefined,
      mtu: (cni.mtu ?? conf.mtu) || undefined,
      allmulti: cni.allmulti ?? conf.allmulti,
      txQLen: cni.txQLen ?? conf.txQLen,
    },
    sysctls: [...sysctls.values()],
  }
}
