/** Looks everywhere, then judges. */
import { setTimeout as pause } from 'node:timers/promises'
import { askStatus as askDaemon } from '../../../daemon/client.ts'
import { plugins } from '../../../plugins/index.ts'
import { hostEnvironment } from '../../environment.ts'
import { checkBinaries } from './checks/binaries.ts'
import { checkConfDir } from './checks/conf-dir.ts'
import { checkDaemon } from './checks/daemon.ts'
import { checkFiltering } from './checks/filtering.ts'
import { checkInstallation } from './checks/installation.ts'
import { checkKernel } from './checks/kernel.ts'
import { checkKeepers } from './checks/leases.ts'
import { checkLeftBehind, type LeftBehind } from './checks/left-behind.ts'
import { checkLimits } from './checks/limits.ts'
import { checkPools } from './checks/pools.ts'
import { checkSettings } from './checks/settings.ts'
import { checkStatus } from './checks/status.ts'
import { lookAtCache } from './facts/attachments.ts'
import { isTrusted, lookAtBinaries } from './facts/binaries.ts'
import { lookAtConfDir, type NetworkFacts, networksOf } from './facts/conf-dir.ts'
import { lookAtDaemon } from './facts/daemon.ts'
import { lookAtFiltering } from './facts/filtering.ts'
import { changesOnce, lookAtInstallation } from './facts/installation.ts'
import { lookAtKernel } from './facts/kernel.ts'
import { lookAtKeepers } from './facts/leases.ts'
import { lookAtLinks, lookAtReservations, lookAtRules } from './facts/left-behind.ts'
import { lookAtPools } from './facts/pools.ts'
import { lookAtSettings } from './facts/settings.ts'
import { askStatus } from './facts/status.ts'
import { type Finding, isForbidden } from './finding.ts'
import type { Places } from './places.ts'
import { see } from './see.ts'
import { forwardedOf, neededOf, useOf, wantedOf } from './use.ts'

/** Milliseconds that one look may take, one for which the kernel may load modules, and all calls of executables. */
const TIMEOUT = 10_000
const LOADING = 30_000
const ALL_CALLS = 60_000
/** Milliseconds for one call of an executable, and for a daemon's answer. */
const CALL = 5_000
/** Milliseconds after which what seems to be left behind is looked at once more: an ADD that is under way is over then. */
const AGAIN = 500

const lookAtLeftBehind = async (
  { cacheDir, dataDir }: Places,
  directories: ReadonlyMap<string, string>,
): Promise<LeftBehind> => {
  // What an ADD makes comes before the cache knows of it.
  const links = await see(TIMEOUT, lookAtLinks)
  const rules = await see(TIMEOUT, lookAtRules)
  const reservations = await see(TIMEOUT, () => lookAtReservations(directories, dataDir))
  const cache = await see(TIMEOUT, () => lookAtCache(cacheDir))
  return { links, rules, reservations, cache }
}

/** What both looks have found, of the networks that are asked for. */
const judgeTwice = async (
  look: () => Promise<LeftBehind>,
  names: ReadonlySet<string>,
  only: readonly string[],
): Promise<{ readonly left: LeftBehind; readonly findings: readonly Finding[] }> => {
  const left = await look()
  const first = checkLeftBehind(left, names, only)
  if (!first.some(({ severity }) => severity === 'warning')) return { left, findings: first }
  await pause(AGAIN)
  const again = await look()
  return { left: again, findings: checkLeftBehind(again, names, only) }
}

const versionsOf = (networks: readonly NetworkFacts[]) =>
  networks.map(({ name, conf, plugins }) => ({
    name,
    version: conf.cniVersion || '0.1.0',
    types: plugins.map(({ type }) => type),
  }))

/** Everything that was found, in the order of the report. */
export const examine = async (places: Places): Promise<readonly Finding[]> => {
  const { binDirs, confDir, dataDir, socket } = places
  const conf = await see(TIMEOUT, () => lookAtConfDir(confDir, plugins))
  const known = networksOf(conf)
  const networks = known.filter(({ name }) => places.networks.length === 0 || places.networks.includes(name))
  const names = new Set(known.map(({ name }) => name))
  const wanted = wantedOf(networks, new Set(plugins.keys()))
  const types = wanted.map(({ type }) => type)
  const path = binDirs.join(':')
  const changesIn = changesOnce()
  const pools = await see(TIMEOUT, () => lookAtPools(networks, plugins, dataDir))
  const directories = new Map(
    pools.seen ? pools.value.map(({ directory, network }) => [directory, network]) : [],
  )
  // Most of it is waiting: for the kernel, for programs, for the second look.
  const [kernel, filtering, settings, { left, findings }, status, binaries, installation, daemon, keepers] =
    await Promise.all([
      lookAtKernel(LOADING),
      lookAtFiltering(LOADING),
      lookAtSettings(TIMEOUT),
      judgeTwice(() => lookAtLeftBehind(places, directories), names, places.networks),
      askStatus(networks, {
        plugins,
        path,
        isTrusted: (type) => isTrusted(type, { directories: binDirs, changesIn }),
        environment: hostEnvironment(),
        timeout: CALL,
      }),
      see(ALL_CALLS, (signal) =>
        lookAtBinaries(types, { directories: binDirs, changesIn, socket, timeout: CALL, signal }),
      ),
      see(TIMEOUT, () => lookAtInstallation(places.prefix, binDirs[0] ?? '/opt/cni/bin', changesIn)),
      see(TIMEOUT, () => lookAtDaemon(socket, TIMEOUT, (at) => askDaemon(at, { timeout: CALL }))),
      see(TIMEOUT * 2, () => lookAtKeepers(networks, CALL)),
    ])
  const releases = [...new Set(binaries.seen ? binaries.value.flatMap(({ release }) => release ?? []) : [])]
  const attachments = left.cache.seen ? (left.cache.value?.attachments ?? []) : []
  return [
    ...checkKernel(kernel, neededOf(networks)),
    ...checkFiltering(filtering, forwardedOf(networks)),
    ...checkSettings(settings, useOf(networks, attachments)),
    ...checkLimits(settings),
    ...checkConfDir(conf, confDir, places.networks),
    ...checkPools(pools),
    ...checkStatus(status, !isForbidden(kernel.untried)),
    ...checkBinaries(binaries, { directories: binDirs, wanted, networks: versionsOf(networks) }),
    ...checkInstallation(installation, binaries.seen ? binaries.value : []),
    ...checkDaemon(daemon, socket, releases),
    ...checkKeepers(keepers),
    ...findings,
  ]
}
