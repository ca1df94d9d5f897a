/** Which backend an attachment's rules go to. */
import { CniError, codes } from '../../cni/error.ts'
import type { Attachment, Context } from '../../cni/plugin.ts'
import { isUnsupported } from '../../netlink/nftables/missing.ts'
import { xtablesUnusable } from '../../netlink/nftables/xtables-usable.ts'
import { hasLegacyTable } from '../shared/iptables.ts'
import { nftablesOf } from '../shared/nftables.ts'
import type { FirewallConf } from './conf.ts'
import type { FilterTables, Version } from './filter.ts'
import { IptablesFilter } from './filter-iptables.ts'
import { NftablesFilter } from './filter-nftables.ts'
import { type Firewalld, firewalldOf } from './firewalld.ts'

type Host = Context<FirewallConf> & Partial<Pick<Attachment<unknown>, 'undo'>>

/** Runs with firewalld's connection, closed afterwards; null where firewalld does not run. */
export const withFirewalld = async <T>(
  { signal, undo }: Pick<Host, 'signal' | 'undo'>,
  use: (firewalld: Firewalld | null) => Promise<T>,
): Promise<T> => {
  const firewalld = await firewalldOf({ signal, undo })
  try {
    return await use(firewalld)
  } finally {
    firewalld?.close()
  }
}

/** Whether the configuration leaves it to the host. */
const isAuto = ({ backend }: FirewallConf): boolean =>
  backend !== 'iptables' && backend !== 'nftables' && backend !== 'firewalld'

/** @throws CniError where it is asked for and does not run */
const firewalldMissing = (): CniError =>
  new CniError({
    code: codes.notAvailable,
    msg: 'backend is "firewalld", but firewalld is not running',
    details: 'systemctl start firewalld; without "backend" the plugin takes what there is',
  })

/** What makes an attachment's rules. */
export interface Backend {
  readonly tables: FilterTables
  /** How permits say whose they are. */
  readonly permits: 'tagged' | 'marked'
  /** Takes the permits' place; null where it is not asked for, or does not run. */
  readonly firewalld: Firewalld | null
}

const byIptables = ({ exec }: Host) => ({ tables: new IptablesFilter(exec), permits: 'marked' }) as const
const byNftables = (host: Host) =>
  ({ tables: new NftablesFilter(host.hostNftables), permits: 'tagged' }) as const

/**
 * Whether the filter tables are those of iptables' program: asked for, or where the old xtables hold rules that only
 * it can add to.
 */
const wantsIptables = ({ conf, hostNetns }: Host, versions: readonly Version[]): boolean =>
  conf.backend === 'iptables' ||
  (conf.backend !== 'nftables' && versions.some((version) => hasLegacyTable(hostNetns, version, 'filter')))

/**
 * Does something with the backend that the configuration and the host come to. Where nf_tables turns out not to be in
 * the kernel, once more with iptables, unless nftables was asked for.
 * @throws CniError code 50 for a firewalld that does not run; what `use` throws
 */
export const withBackend = <T>(
  host: Host,
  versions: readonly Version[],
  use: (backend: Backend) => Promise<T>,
): Promise<T> => {
  const { backend } = host.conf
  const run = async (firewalld: Firewalld | null): Promise<T> => {
    if (wantsIptables(host, versions)) return use({ ...byIptables(host), firewalld })
    try {
      return await use({ ...byNftables(host), firewalld })
    } catch (error) {
      // Asking the kernel beforehand would cost every ADD what only a few hosts need.
      if (backend === 'nftables' || !isUnsupported(error) || !(await xtablesUnusable(host.hostNetns)))
        throw error
      return use({ ...byIptables(host), firewalld })
    }
  }
  if (backend !== 'firewalld' && !isAuto(host.conf)) return run(null)
  return withFirewalld(host, (firewalld) => {
    if (!firewalld && backend === 'firewalld') throw firewalldMissing()
    return run(firewalld)
  })
}

/** nf_tables of the host for removing; null in a kernel without. */
export const nftablesFilter = (host: Pick<Context<unknown>, 'hostNftables'>): NftablesFilter | null => {
  const connection = nftablesOf(host)
  return connection && new NftablesFilter(connection, { mayLack: true })
}
