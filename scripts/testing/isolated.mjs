/**
 * Runs a command in a network, mount and process namespace of its own, so that a test that goes wrong can't reach the
 * machine, and looks at what it leaves behind there.
 *
 *   node scripts/testing/isolated.mjs REPORT COMMAND [ARG]...
 *
 * Ends with the command's status, 1 where a signal ended it, and writes {leftovers} as JSON to REPORT. Root only.
 */
import { spawn, spawnSync } from 'node:child_process'
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { setTimeout } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { differences, machineState } from './machine.mjs'

const self = fileURLToPath(import.meta.url)

/** Processes of this namespace but its init, this one and those that have ended already. */
const processes = () =>
  readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name) && !['1', `${process.pid}`].includes(name))
    .flatMap((pid) => {
      try {
        const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
        if (/\) [ZX] /.test(stat)) return []
        const words = readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ').trim()
        return [`+ process: ${words || stat.split(' ')[1]}`]
      } catch (error) {
        // It has ended meanwhile.
        if (error.code === 'ENOENT' || error.code === 'ESRCH') return []
        throw error
      }
    })

/** Those that are still there after a while: one that was killed takes a moment to end. */
const lastingProcesses = async () => {
  const end = Date.now() + 10_000
  for (;;) {
    const found = processes()
    if (found.length === 0 || Date.now() > end) return found
    await setTimeout(50)
  }
}

const inside = async (report, file, args) => {
  const setUp = [
    // Names of namespaces, locks and sockets.
    ['mount', '-t', 'tmpfs', '-o', 'mode=755', 'tmpfs', '/run'],
    // /sys shows the network namespace it was mounted in; the control groups below it are the machine's.
    ['mkdir', '/run/cgroup'],
    ['mount', '--rbind', '/sys/fs/cgroup', '/run/cgroup'],
    ['mount', '-t', 'sysfs', 'sysfs', '/sys'],
    ['mount', '--move', '/run/cgroup', '/sys/fs/cgroup'],
    // As the first `ip netns add` leaves it.
    ['mkdir', '/run/netns'],
    ['mount', '--bind', '/run/netns', '/run/netns'],
    ['mount', '--make-shared', '/run/netns'],
    ['ip', 'link', 'set', 'lo', 'up'],
    ...['/var/lib/cni', '/opt/cni', '/etc/cni']
      .filter((path) => existsSync(path))
      .map((path) => ['mount', '-t', 'tmpfs', '-o', 'mode=755', 'tmpfs', path]),
  ]
  for (const [program, ...words] of setUp) {
    const { status, stderr } = spawnSync(program, words, { encoding: 'utf8' })
    if (status !== 0) throw new Error(`${program} ${words.join(' ')}: ${stderr}`)
  }
  const before = machineState()
  const child = spawn(file, args, { stdio: 'inherit' })
  const status = await new Promise((resolve, reject) => {
    child.on('error', reject)
    child.on('close', resolve)
  })
  const leftovers = [...(await lastingProcesses()), ...differences(before, machineState())]
  writeFileSync(report, JSON.stringify({ leftovers }))
  process.exitCode = status ?? 1
}

if (process.argv[2] === '--inside') {
  const [report, file, ...args] = process.argv.slice(3)
  await inside(report, file, args)
} else {
  // bash is the namespace's init: unlike node it collects orphans. With two commands it does not become the first.
  const script = '"$@"; exit $?'
  const words = ['bash', '-c', script, 'init', process.execPath, self, '--inside', ...process.argv.slice(2)]
  const flags = [
    '--net',
    '--mount',
    '--pid',
    '--fork',
    '--kill-child',
    '--mount-proc',
    '--propagation',
    'private',
  ]
  const child = spawn('unshare', [...flags, '--', ...words], { stdio: 'inherit' })
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => child.kill('SIGTERM'))
  child.on('close', (status) => {
    process.exitCode = status ?? 1
  })
}
