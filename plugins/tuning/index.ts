/** `tuning`: sysctls of the container, and MAC, MTU and modes of its interface; DEL gives back what they were. */
import { invalidConfig } from '../../cni/error.ts'
import { type Attachment, type Context, definePlugin } from '../../cni/plugin.ts'
import { allVersions, type Result } from '../../cni/types.ts'
import { Breather } from '../../ipam/files.ts'
import { chainedResult } from '../shared/chained.ts'
import { Failures } from '../shared/failures.ts'
import { containerNetns } from '../shared/netns.ts'
import { ownAddresses, tellsMtu } from '../shared/result.ts'
import { checkAllowed, defaultAllowlist, readAllowlist } from './allowlist.ts'
import { type Backup, Backups, belongsTo, merge } from './backup.ts'
import { checkTuned } from './check.ts'
import { defaultDataDir, type TuningConf, tuningConf, type Wanted, wantedOf } from './conf.ts'
import { giveBack, mayPass, toError } from './give-back.ts'
import { asksForAny, findInterface, IPV6_MIN_MTU, originalsOf, setAll } from './link-settings.ts'
import { checkReady } from './status.ts'
import { readOriginals, writeSysctls } from './sysctls.ts'

/** Files that tests choose. */
export interface TuningOptions {
  /** Default `/etc/cni/tuning/allowlist.conf`. */
  readonly allowlist?: string | undefined
  /** Where originals are kept unless the configuration says otherwise. Default `/run/cni/tuning`. */
  readonly dataDir?: string | undefined
}

type Own = Attachment<TuningConf>

/** With a smaller MTU the kernel takes IPv6 from the interface: addresses, routes and sysctls. @throws CniError code 7 */
const checkMtu = ({ link: { mtu } }: Wanted, result: Result, attachment: Own): void => {
  if (mtu === undefined || mtu >= IPV6_MIN_MTU) return
  const six = ownAddresses(result, attachment).find(({ address }) => address.includes(':'))
  if (six)
    throw invalidConfig(
      `invalid MTU ${mtu}: ${attachment.ifName} has the IPv6 address ${six.address}, which it would lose`,
      `IPv6 needs ${IPV6_MIN_MTU} bytes at least (RFC 8200)`,
    )
}

/** The result of the plugin before, with what has changed of the container's interface. */
const tunedResult = (result: Result, { link: { mac, mtu } }: Wanted, attachment: Own): Result => ({
  ...result,
  interfaces: result.interfaces?.map((entry) => {
    if (entry.name !== attachment.ifName || !entry.sandbox) return entry
    const told = mtu !== undefined && (entry.mtu !== undefined || tellsMtu(attachment))
    return { ...entry, mac: mac ?? entry.mac, mtu: told ? mtu : entry.mtu }
  }),
})

/** Makes the plugin. */
export const defineTuning = (options: TuningOptions = {}) => {
  const { allowlist = defaultAllowlist, dataDir = defaultDataDir } = options
  const backupsOf = ({ conf }: Context<TuningConf>): Backups => new Backups(conf.dataDir || dataDir)
  /** Also the usual folder: the configuration may have named no other one at ADD. */
  const allBackupsOf = ({ conf }: Context<TuningConf>): Backups[] =>
    [...new Set([conf.dataDir || dataDir, dataDir])].map((folder) => new Backups(folder))

  /** What an earlier ADD of the same attachment has kept; null where there is none, or none that is of use. */
  const keptBefore = (attachment: Own, backups: Backups, netns: string): Backup | null => {
    const found = backups.read(attachment)
    if (found === null) attachment.log.warn(`${backups.path(attachment)} is no backup, and is replaced`)
    if (!found) return null
    if (!belongsTo(found, attachment))
      throw invalidConfig(
        `${backups.path(attachment)} holds what another attachment was like`,
        `that of ${found.owner?.ifName} in ${found.owner?.containerId}; name another dataDir`,
      )
    // One of another namespace was forgotten when that went.
    return found.owner && found.owner.netns !== netns ? null : found
  }

  const restore = async (attachment: Own, backups: Backups): Promise<void> => {
    const { netns, container, ifName, log } = attachment
    const backup = backups.read(attachment)
    const path = backups.path(attachment)
    if (backup && !belongsTo(backup, attachment)) {
      log.warn(`${path} is left alone: it is of another attachment`)
      return
    }
    if (backup === null) log.warn(`${path} is no backup, and is removed`)
    else if (backup && netns && (!backup.owner || backup.owner.netns === netns.identity)) {
      const failures = await giveBack({ netns, container, ifName }, backup)
      const passing = failures.find(mayPass)
      if (passing) throw toError(passing)
      // To fail would not change it, and would keep the plugins before this one from their DEL.
      for (const failure of failures) log.warn(toError(failure).message)
    }
    backups.remove(attachment)
  }

  return definePlugin({
    type: 'tuning',
    kind: 'interface',
    versions: allVersions,
    conf: tuningConf,

    async add(attachment: Own): Promise<Result> {
      const { undo, network, containerId, ifName } = attachment
      const wanted = wantedOf(attachment)
      const { link, sysctls } = wanted
      if (sysctls.length > 0)
        checkAllowed(
          sysctls.map(({ key }) => key),
          readAllowlist(allowlist),
          allowlist,
        )
      const result = chainedResult(attachment, 'Required prevResult missing')
      checkMtu(wanted, result, attachment)
      if (sysctls.length === 0 && !asksForAny(link)) return result

      const netns = containerNetns(attachment)
      const { container } = attachment
      const found = asksForAny(link) ? await findInterface(container, ifName, link) : null
      const owner = { network, containerId, ifName, netns: netns.identity }
      const before: Backup = {
        link: found ? originalsOf(found, link) : {},
        sysctls: readOriginals(netns, sysctls),
        owner,
      }
      const backups = backupsOf(attachment)
      const kept = keptBefore(attachment, backups, owner.netns)
      undo.push(`give ${ifName} its settings back`, async () => {
        const [failure] = await giveBack({ netns, container, ifName }, before)
        // The file stays for a DEL to try again.
        if (failure) throw toError(failure)
        if (kept) backups.write(attachment, kept)
        else backups.remove(attachment)
      })
      backups.write(attachment, merge(kept, before))
      writeSysctls(netns, sysctls, before.sysctls)
      if (found) await setAll(container, found, link)
      return tunedResult(result, wanted, attachment)
    },

    check: (attachment: Own) => checkTuned(attachment),

    async del(attachment: Own): Promise<void> {
      const failures = new Failures()
      for (const backups of allBackupsOf(attachment))
        await failures.attempt(() => restore(attachment, backups))
      failures.raise()
    },

    async status(context: Context<TuningConf>): Promise<void> {
      checkReady(context, { allowlist, dataDir: context.conf.dataDir || dataDir })
    },

    async gc(context: Context<TuningConf>, valid): Promise<void> {
      const failures = new Failures()
      const breather = new Breather()
      for (const backups of allBackupsOf(context))
        await failures.attempt(async () => {
          for (const remove of backups.stale(context.network, valid, context.clock.now())) {
            await failures.attempt(remove)
            if (breather.due) await breather.rest()
          }
        })
      failures.raise()
    },
  })
}

/** The tuning plugin. */
export const tuning = defineTuning()
