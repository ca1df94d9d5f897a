/** A private host with a message bus and a firewalld of its own; the machine's are not touched. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { afterAll } from 'vitest'
import { firewalldOf } from '../../../plugins/firewall/firewalld.ts'
import { plainEnv } from '../../support/program.ts'
import { type PrivateHost, privateHost } from '../../support/space.ts'
import { eventually } from '../../support/wait.ts'

const socket = '/run/dbus/system_bus_socket'

/** A system bus on which root may own firewalld's name. It can start nothing: no service folder is named. */
const busConfig = `<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>system</type>
  <listen>unix:path=${socket}</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow user="*"/>
    <deny own="*"/>
    <deny send_type="method_call"/>
    <allow send_type="signal"/>
    <allow send_requested_reply="true" send_type="method_return"/>
    <allow send_requested_reply="true" send_type="error"/>
    <allow receive_type="method_call"/>
    <allow receive_type="method_return"/>
    <allow receive_type="error"/>
    <allow receive_type="signal"/>
    <allow send_destination="org.freedesktop.DBus"/>
  </policy>
  <policy user="root">
    <allow own="org.fedoraproject.FirewallD1"/>
    <allow own="org.fedoraproject.FirewallD1.config"/>
    <allow send_destination="org.fedoraproject.FirewallD1"/>
    <allow send_destination="org.fedoraproject.FirewallD1.config"/>
  </policy>
</busconfig>
`

interface Daemon {
  readonly process: ChildProcess
  said: string
}

const running = new Set<Daemon>()

const end = async (daemon: Daemon, signal: NodeJS.Signals): Promise<void> => {
  running.delete(daemon)
  const { process } = daemon
  if (process.exitCode !== null || process.signalCode !== null) return
  const gone = once(process, 'close')
  process.kill(signal)
  await gone
}

afterAll(async () => {
  for (const daemon of running) await end(daemon, 'SIGKILL')
})

export interface FirewalldHost {
  readonly host: PrivateHost
  /** The bus's socket, as this process reaches it. */
  readonly socket: string
  /** `firewall-cmd` there. @returns what it says */
  firewallCmd(...args: string[]): Promise<string>
  /** Starts firewalld; its folders are the host's own. */
  startFirewalld(): Promise<void>
  /** Ends it. */
  stopFirewalld(): Promise<void>
}

/** A host with a bus, and nobody on it. */
export const firewalldHost = async (): Promise<FirewalldHost> => {
  const host = await privateHost()
  // firewalld writes its log there, whatever it is told.
  await host.must('sh', ['-ec', 'mount -t tmpfs tmpfs /var/log; mkdir -p /run/dbus /run/firewalld-config'])
  writeFileSync(host.file('/run/bus.conf'), busConfig)
  const start = (file: string, ...args: string[]): Daemon => {
    // nsenter becomes the program.
    const [program, words] = host.command(file, args)
    const process = spawn(program, words, { env: plainEnv, stdio: ['ignore', 'pipe', 'pipe'] })
    const daemon = { process, said: '' }
    for (const stream of [process.stdout, process.stderr])
      stream.on('data', (data) => {
        daemon.said += data
      })
    running.add(daemon)
    return daemon
  }
  const bus = start('dbus-daemon', '--config-file=/run/bus.conf', '--nofork', '--nopidfile')
  await eventually('the bus listens', async () => {
    const { status } = await host.run('test', ['-S', socket])
    if (status !== 0) throw new Error(bus.said)
    return true
  })
  let firewalld: Daemon | undefined
  const firewallCmd = async (...args: string[]): Promise<string> =>
    (await host.must('firewall-cmd', args)).trim()
  return {
    host,
    socket: host.file(socket),
    firewallCmd,
    startFirewalld: async () => {
      const folder = ['--system-config', '/run/firewalld-config']
      const daemon = start('firewalld', '--nofork', '--nopid', ...folder, '--log-target', 'console')
      firewalld = daemon
      // firewall-cmd takes half a second to say so.
      await eventually('firewalld runs', async () => {
        const found = await firewalldOf({ socket: host.file(socket) })
        found?.close()
        if (!found) throw new Error(daemon.said)
        return true
      })
    },
    stopFirewalld: async () => {
      if (firewalld) await end(firewalld, 'SIGTERM')
    },
  }
}
