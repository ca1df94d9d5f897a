/** Whether a daemon serves the launcher, and whether it is of the release that is installed. */
import type { DaemonFacts } from '../facts/daemon.ts'
import { type Finding, isForbidden, ok, type Seen, unseen, warning } from '../finding.ts'

const ID = 'daemon.socket'

const checkAccess = ({ socket, access }: DaemonFacts): readonly Finding[] => {
  if (!access || ((access.mode & 0o066) === 0 && access.uid === 0)) return []
  const mode = access.mode.toString(8).padStart(4, '0')
  return [
    warning('daemon.access', `${socket} is of user ${access.uid}, mode ${mode}`, {
      advice:
        'only root may ask for attachments, and the daemon refuses others: chown root and chmod 0600 it',
      facts: { socket, uid: access.uid, mode },
    }),
  ]
}

const checkAnswer = (daemon: DaemonFacts, releases: readonly string[]): readonly Finding[] => {
  const { socket, file, answer } = daemon
  const facts = { socket, file }
  if (file === 'none')
    return [ok(ID, `no daemon: each call starts the standalone program (${socket} is not there)`, { facts })]
  if (!answer)
    return [
      warning(ID, `${socket} is no socket`, {
        advice: 'the daemon can not listen there: remove it, and start the daemon',
        facts,
      }),
    ]
  if (!answer.seen && isForbidden(answer.why)) return [unseen(ID, socket, answer.why)]
  if (!answer.seen)
    return [
      warning(ID, `no daemon answers at ${socket}: ${answer.why}`, {
        advice:
          'each call starts the standalone program, after a wait of up to 50 ms: systemctl status linkwright',
        facts: { ...facts, why: answer.why },
      }),
    ]
  const { version, pid, uptime, running, queued } = answer.value
  const said = { ...facts, version, pid, uptime, running, queued, releases }
  const others = releases.filter((release) => release !== version)
  return [
    ok(ID, `a daemon (${version}, pid ${pid}) answers at ${socket}`, { facts: said }),
    ...(others.length > 0
      ? [
          warning('daemon.version', `the daemon is ${version}, the executables are ${others.join(', ')}`, {
            advice: 'restart it, so that calls are served by what is installed: systemctl restart linkwright',
            facts: said,
          }),
        ]
      : []),
  ]
}

/** @param releases of our executables */
export const checkDaemon = (
  daemon: Seen<DaemonFacts>,
  socket: string,
  releases: readonly string[],
): readonly Finding[] =>
  daemon.seen
    ? [...checkAnswer(daemon.value, releases), ...checkAccess(daemon.value)]
    : [unseen(ID, socket, daemon.why)]
