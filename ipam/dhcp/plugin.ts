/** `dhcp`: addresses that a server of the network leases, and a keeper keeps. */
import { existsSync } from 'node:fs'
import { CniError, codes } from '../../cni/error.ts'
import { type Attachment, type Context, definePlugin } from '../../cni/plugin.ts'
import { allVersions, type Result } from '../../cni/types.ts'
import { type DhcpConf, dhcpConf, leasesOf, socketOf } from './conf.ts'
import type { Entry } from './journal.ts'
import { type LeaseCall, type LeaseKeeper, NO_LEASE } from './lease-keeper.ts'
import { KeeperCannotTell, KeeperUnreachable } from './rpc/errors.ts'

export interface DhcpOptions {
  /** Keeps the leases in this process. Default: whoever listens on the configured socket. */
  readonly keeper?: LeaseKeeper | undefined
  /** The keeper is asked where the configuration names this socket; others are dialled. Default: it is always asked. */
  readonly socketPath?: string | undefined
}

const callOf = (attachment: Attachment<DhcpConf>): LeaseCall => ({
  containerId: attachment.containerId,
  ifName: attachment.ifName,
  netns: attachment.netnsPath,
  args: attachment.args.text,
  conf: attachment.rawConf,
})

/** Code 50: what to start. */
const unreachable = (error: KeeperUnreachable, conf: DhcpConf): CniError =>
  new CniError({
    code: codes.notAvailable,
    msg: error.msg,
    details: `nobody keeps leases on ${socketOf(conf)}: start the keeper (dhcp daemon, in the folder of the plugins), or set "standalone": true in ipam to do without, which means that nobody renews the lease`,
    cause: error,
  })

/** As the Go plugin words what its daemon says: tools match on it. */
const worded = (error: unknown): unknown =>
  error instanceof CniError && error.msg === NO_LEASE
    ? new CniError({
        code: error.code,
        msg: `error calling DHCP.Allocate: ${error.msg}`,
        details: error.details,
        cause: error,
      })
    : error

/** The addresses of the result have to be the leased ones. @throws CniError */
const checkAddresses = ({ prevResult }: Attachment<DhcpConf>, { ips = [] }: Result): void => {
  if (!prevResult) return
  for (const { address } of ips)
    if (!(prevResult.ips ?? []).some((own) => own.address === address))
      throw new CniError({
        code: codes.internal,
        msg: `dhcp: the lease is ${address}, which is not in prevResult`,
        details: 'the server has given another address since',
      })
}

/** The dhcp plugin, with a keeper in this process where there is one. */
export const createDhcp = ({ keeper, socketPath }: DhcpOptions = {}) => {
  /** Asks the keeper; where none can be reached, does without. */
  const ask = async <T>(
    context: Context<DhcpConf>,
    work: (keeper: LeaseKeeper) => Promise<T>,
    without: (error: KeeperUnreachable) => Promise<T>,
  ): Promise<T> => {
    const path = socketOf(context.conf)
    if (keeper && (socketPath === undefined || socketPath === path)) return await work(keeper)
    // Loaded when used: the executable of every plugin has this one in it.
    const { RemoteKeeper } = await import('./rpc/remote.ts')
    try {
      return await work(new RemoteKeeper(path))
    } catch (error) {
      if (!(error instanceof KeeperUnreachable)) throw error
      return await without(error)
    }
  }
  const alone = async <T>(
    { conf, log, network }: Context<DhcpConf>,
    work: (keeper: LeaseKeeper) => Promise<T>,
    containerId?: string,
  ): Promise<T> => {
    const { withoutKeeper } = await import('./one-shot.ts')
    const isMeant = (entry: Entry) =>
      entry.network === network && (containerId === undefined || entry.containerId === containerId)
    return await withoutKeeper({ folder: leasesOf(socketOf(conf)), log, which: isMeant }, work)
  }

  const release = (attachment: Attachment<DhcpConf>): Promise<void> =>
    ask(
      attachment,
      (one) => one.release(callOf(attachment)),
      // The keeper may have ended since: the journal tells what there is to give back.
      async () => {
        if (existsSync(leasesOf(socketOf(attachment.conf))))
          await alone(attachment, (one) => one.release(callOf(attachment)), attachment.containerId)
      },
    )

  return definePlugin({
    type: 'dhcp',
    kind: 'ipam',
    needsInterface: true,
    versions: allVersions,
    conf: dhcpConf,

    async add(attachment) {
      const { conf, signal, undo, log } = attachment
      undo.push('release the lease', () => release(attachment))
      const allocate = async (one: LeaseKeeper): Promise<Result> => {
        try {
          return await one.allocate(callOf(attachment), signal)
        } catch (error) {
          throw worded(error)
        }
      }
      return await ask(attachment, allocate, async (error) => {
        if (!conf.ipam.standalone) throw unreachable(error, conf)
        log.warn('dhcp: no keeper runs: nobody will renew this lease')
        return await alone(attachment, allocate, attachment.containerId)
      })
    },

    async check(attachment) {
      const { conf } = attachment
      const found = await ask<Result | null>(
        attachment,
        async (one) => {
          try {
            return await one.check(callOf(attachment))
          } catch (error) {
            // The Go daemon knows no question that does not make a lease. That it runs is all there is to see.
            if (error instanceof KeeperCannotTell) return null
            throw error
          }
        },
        async (error) => {
          if (!conf.ipam.standalone) throw unreachable(error, conf)
          return await alone(attachment, (one) => one.check(callOf(attachment)), attachment.containerId)
        },
      )
      if (found) checkAddresses(attachment, found)
    },

    del: release,

    async status(context) {
      await ask(
        context,
        async (one) => void (await one.status()),
        async (error) => {
          if (!context.conf.ipam.standalone) throw unreachable(error, context.conf)
        },
      )
    },

    async gc(context, valid) {
      await ask(
        context,
        (one) => one.gc(context.network, valid),
        async () => {
          if (existsSync(leasesOf(socketOf(context.conf))))
            await alone(context, (one) => one.gc(context.network, valid))
        },
      )
    },
  })
}

/** `dhcp`, for a keeper behind its socket. */
export const dhcp = createDhcp()
