/** `bandwidth`: how fast a container's traffic goes, in each direction. */
import type { Attachment } from '../../cni/plugin.ts'
import { definePlugin } from '../../cni/plugin.ts'
import { chainedResult, chainedVersions } from '../shared/chained.ts'
import { interfaceEntry } from '../shared/result.ts'
import { checkLimits } from './check.ts'
import { bandwidthConf, type Limit, type Limits, limitsOf } from './conf.ts'
import { makeLimits } from './make.ts'
import { findPlace, type HostEnd } from './place.ts'
import { collectLimits, removeLimits } from './remove.ts'
import { checkKernel } from './status.ts'

/** ETH_HLEN, linux/if_ether.h. */
const HEADER = 14

/** A token bucket drops what does not fit into it. */
const warnOfSmallBursts = (
  { log }: Attachment<unknown>,
  limits: Limits,
  { link: { name, mtu } }: HostEnd,
): void => {
  const packet = mtu + HEADER
  const warn = (direction: string, limit: Limit | null): void => {
    if (limit && limit.burst < packet)
      log.warn(
        `${direction}Burst is ${limit.burst} bytes, a packet on ${name} up to ${packet}: larger ones are dropped`,
      )
  }
  warn('ingress', limits.ingress)
  warn('egress', limits.egress)
}

/** The bandwidth plugin. */
export const bandwidth = definePlugin({
  type: 'bandwidth',
  kind: 'interface',
  versions: chainedVersions,
  conf: bandwidthConf,

  async add(attachment) {
    const limits = limitsOf(attachment.conf)
    const result = chainedResult(attachment)
    if (!limits) return result
    const looked = await findPlace(attachment, result)
    warnOfSmallBursts(attachment, limits, looked.end)
    const ifb = await makeLimits(attachment, limits, looked)
    if (!ifb) return result
    return { ...result, interfaces: [...(result.interfaces ?? []), interfaceEntry(attachment, ifb)] }
  },

  async check(attachment) {
    const limits = limitsOf(attachment.conf)
    const result = chainedResult(attachment, 'must be called as a chained plugin')
    if (limits) await checkLimits(attachment, result, limits, await findPlace(attachment, result))
  },

  del: (attachment) => removeLimits(attachment),

  async status({ conf }) {
    const limits = limitsOf(conf)
    await checkKernel(!!limits?.subnets)
  },

  gc: (context, valid) => collectLimits(context, valid),
})
