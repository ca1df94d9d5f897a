import { readFileSync, statSync } from 'node:fs'
import { isErrno } from '../../../../netlink/error.ts'
import { Netns } from '../../../../netlink/netns.ts'
import type { Seen } from '../finding.ts'
import { see } from '../see.ts'

/** Settings of the host's network that matter, below `/proc/sys/`. */
export const networkSettings = [
  'net/ipv4/ip_forward',
  'net/ipv6/conf/all/forwarding',
  'net/ipv4/conf/all/rp_filter',
  'net/ipv4/conf/default/rp_filter',
  'net/bridge/bridge-nf-call-iptables',
  'net/bridge/bridge-nf-call-ip6tables',
  'net/netfilter/nf_conntrack_count',
  'net/netfilter/nf_conntrack_max',
] as const
export type NetworkSetting = (typeof networkSettings)[number]

/** Undefined where the kernel has no such setting (now). */
export type Settings = Readonly<Partial<Record<NetworkSetting, string>>>

/** Numbers of what the machine has, and may have at most. */
export interface LimitFacts {
  /** Threads of all processes, and `kernel.pid_max` or `kernel.threads-max`, whichever is less. */
  readonly threads: readonly [used: number, most: number]
  /** Open files of the machine, and `fs.file-max`. */
  readonly files: readonly [used: number, most: number]
  /** `fs.inotify.max_user_instances`. */
  readonly inotifyInstances: number
  /** `fs.inotify.max_user_watches`. */
  readonly inotifyWatches: number
  /** `user.max_net_namespaces`. */
  readonly netNamespaces: number
}

export interface SettingsFacts {
  readonly settings: Seen<Settings>
  readonly limits: Seen<LimitFacts>
  /** Whether a kubelet keeps its state here. */
  readonly kubelet: boolean
}

const readSettings = (host: Netns): Settings =>
  Object.fromEntries(
    networkSettings.flatMap((name) => {
      try {
        return [[name, host.readSysctl(name)]]
      } catch (error) {
        if (isErrno(error, 'ENOENT', 'ENOTDIR')) return []
        throw error
      }
    }),
  )

const numbers = (path: string): number[] => readFileSync(path, 'ascii').trim().split(/\s+/).map(Number)
const numberOf = (name: string): number => numbers(`/proc/sys/${name}`)[0]!

const readLimits = (): LimitFacts => {
  const [open = 0, free = 0] = numbers('/proc/sys/fs/file-nr')
  // The fourth word: running threads, a slash, all threads; proc(5).
  const threads = Number(/ \d+\/(\d+) /.exec(readFileSync('/proc/loadavg', 'ascii'))?.[1] ?? 0)
  return {
    threads: [threads, Math.min(numberOf('kernel/pid_max'), numberOf('kernel/threads-max'))],
    files: [open - free, numberOf('fs/file-max')],
    inotifyInstances: numberOf('fs/inotify/max_user_instances'),
    inotifyWatches: numberOf('fs/inotify/max_user_watches'),
    netNamespaces: numberOf('user/max_net_namespaces'),
  }
}

/** Reads settings of the process's own namespace, and limits of the machine. */
export const lookAtSettings = async (timeout: number): Promise<SettingsFacts> => ({
  settings: await see(timeout, () => readSettings(Netns.current())),
  limits: await see(timeout, readLimits),
  kubelet: statSync('/var/lib/kubelet', { throwIfNoEntry: false })?.isDirectory() ?? false,
})
