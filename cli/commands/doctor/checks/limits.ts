/** Limits of the machine at which nothing can be started or opened any more. */
import type { LimitFacts, SettingsFacts } from '../facts/settings.ts'
import { type Finding, failure, ok, unseen, warning } from '../finding.ts'

const NEARLY = 0.9
/** Where a limit is as good as reached: an ADD may start programs and opens some files. */
const REACHED = 0.995

const ofMost = (
  id: string,
  what: string,
  setting: string,
  [used, most]: readonly [number, number],
): Finding => {
  const facts = { used, most }
  if (used < most * NEARLY) return ok(id, `${used} of ${most} ${what}`, { facts })
  return (used < most * REACHED ? warning : failure)(id, `${used} of at most ${most} ${what}`, {
    advice: `find out who has them; the limit is ${setting}`,
    facts,
  })
}

/** What Linux comes with: less was set by somebody. */
const INOTIFY_INSTANCES = 128
const INOTIFY_WATCHES = 8192

const checkInotify = ({ inotifyInstances, inotifyWatches }: LimitFacts): Finding => {
  const id = 'limits.inotify'
  const facts = { instances: inotifyInstances, watches: inotifyWatches }
  if (inotifyInstances >= INOTIFY_INSTANCES && inotifyWatches >= INOTIFY_WATCHES)
    return ok(id, `${inotifyInstances} inotify instances and ${inotifyWatches} watches a user`, { facts })
  return warning(id, `only ${inotifyInstances} inotify instances and ${inotifyWatches} watches a user`, {
    advice:
      'runtimes watch the directory of configurations by it: sysctl -w fs.inotify.max_user_instances=1024 fs.inotify.max_user_watches=524288',
    facts,
  })
}

const checkNamespaces = ({ netNamespaces }: LimitFacts): Finding => {
  const id = 'limits.net-namespaces'
  const facts = { most: netNamespaces }
  if (netNamespaces > 0) return ok(id, `up to ${netNamespaces} network namespaces`, { facts })
  return failure(id, 'no network namespace can be made: user.max_net_namespaces is 0', {
    advice: 'sysctl -w user.max_net_namespaces=63449, and look in /etc/sysctl.d',
    facts,
  })
}

export const checkLimits = ({ limits }: SettingsFacts): readonly Finding[] => {
  if (!limits.seen) return [unseen('limits', 'limits of the machine', limits.why)]
  const { threads, files } = limits.value
  return [
    ofMost('limits.threads', 'threads', 'kernel.pid_max or kernel.threads-max', threads),
    ofMost('limits.files', 'open files', 'fs.file-max', files),
    checkInotify(limits.value),
    checkNamespaces(limits.value),
  ]
}
