/** `flannel`: writes the configuration of another plugin, by what flanneld says about the node, and calls that. */
import { CniError, codes } from '../../cni/error.ts'
import { lookup } from '../../cni/fold.ts'
import type { Delegate } from '../../cni/ipam.ts'
import { type Attachment, type Context, definePlugin } from '../../cni/plugin.ts'
import { type AttachmentId, allVersions, type JsonObject } from '../../cni/types.ts'
import { Failures } from '../shared/failures.ts'
import { dataDirOf, type FlannelConf, flannelConf, subnetFileOf } from './conf.ts'
import { generate } from './generate.ts'
import { KeptConfs, textsOf } from './kept.ts'
import { readSubnetFile } from './subnet-file.ts'

const keptOf = ({ conf, network }: Context<FlannelConf>): KeptConfs => new KeptConfs(dataDirOf(conf), network)

/** Keys that the runtime writes for one call, which are passed on and not kept. */
const passedOn = ['prevResult', 'cni.dev/valid-attachments', 'cni.dev/attachments']

const withCall = (conf: JsonObject, rawConf: JsonObject): JsonObject => {
  const more = passedOn.map((key) => [key, lookup(rawConf, key)] as const)
  return { ...conf, ...(Object.fromEntries(more.filter(([, value]) => value !== undefined)) as JsonObject) }
}

/** By the subnet file as it is now. @throws CniError */
const generateNow = (context: Context<FlannelConf>): JsonObject =>
  generate(context, readSubnetFile(subnetFileOf(context.conf)))

/** The same; where the file is gone or says nothing, what is there without it. */
const generateAnyway = (context: Context<FlannelConf>): JsonObject => {
  try {
    return generateNow(context)
  } catch (error) {
    context.log.debug(`flannel: ${(error as Error).message}`)
    return generate(context, null)
  }
}

/** The delegate of an attachment that was made before. @throws CniError */
const delegateOf = (attachment: Attachment<FlannelConf>): Delegate => {
  const conf = keptOf(attachment).find(attachment) ?? generateNow(attachment)
  return attachment.delegate(withCall(conf, attachment.rawConf))
}

/**
 * Whether a kept entry belongs to nobody. One that the Go plugin kept does not say which interface it is of: the
 * container is enough.
 */
const isStale =
  (valid: readonly AttachmentId[]) =>
  ({ containerId, ifName }: { readonly containerId: string; readonly ifName: string | null }): boolean =>
    !valid.some((id) => id.containerId === containerId && (ifName === null || id.ifName === ifName))

/** The flannel plugin. */
export const flannel = definePlugin({
  type: 'flannel',
  kind: 'interface',
  versions: allVersions,
  conf: flannelConf,

  async add(attachment) {
    const conf = generateNow(attachment)
    const delegate = attachment.delegate(conf)
    const kept = keptOf(attachment)
    // An attachment that is there already keeps what its DEL goes by, whatever becomes of this one.
    const before = kept.get(attachment)
    attachment.undo.push('forget the configuration', () => kept.put(attachment, before))
    kept.put(attachment, textsOf(conf))
    return delegate.add()
  },

  check: (attachment) => delegateOf(attachment).check(),

  async del(attachment) {
    const kept = keptOf(attachment)
    const conf = kept.find(attachment)
    if (conf) await attachment.delegate(withCall(conf, attachment.rawConf)).del()
    else
      try {
        // Never made, or its file is lost. What would be made now is most likely what was.
        await attachment.delegate(withCall(generateAnyway(attachment), attachment.rawConf)).del()
      } catch (error) {
        attachment.log.warn(`flannel: nothing is kept of this attachment: ${(error as Error).message}`)
      }
    kept.forget(attachment)
  },

  async status(context) {
    let conf: JsonObject
    try {
      conf = generateNow(context)
      keptOf(context).checkWritable()
    } catch (cause) {
      const { msg, details } = CniError.from(cause)
      throw new CniError({ code: codes.notAvailable, msg, details, cause })
    }
    await context.delegate(conf).status()
  },

  async gc(context, valid) {
    const kept = keptOf(context)
    const stale = kept.list().filter(isStale(valid))
    // The delegate may have been another one once.
    const confs = new Map<unknown, JsonObject>(stale.map(({ conf }) => [conf.type, conf]))
    const now = generateAnyway(context)
    confs.set(now.type, now)
    const failures = new Failures()
    for (const conf of confs.values())
      await failures.attempt(() => context.delegate(withCall(conf, context.rawConf)).gc(valid))
    failures.raise()
    for (const { containerId, ifName } of stale)
      await failures.attempt(() =>
        ifName === null ? kept.forgetShared(containerId) : kept.forget({ containerId, ifName }),
      )
    failures.raise()
  },

  repair: (attachment) => delegateOf(attachment).repair(),
})
