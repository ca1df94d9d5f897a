import { spawnSync } from 'node:child_process'
import { existsSync, rmSync, writeFileSync } from 'node:fs'

const namespaces = ['iproute2', 'iptables', 'nftables', 'iputils-ping', 'util-linux']

/** The Debian packages that each group of tests runs, and where nothing else will do. The one list of them. */
export const packagesOf = {
  kernel: [
    // strace kills programs at the system calls it is told.
    ...[...namespaces, 'containernetworking-plugins', 'strace'],
    // DHCP: two servers, one of which advertises routers too; a client of somebody else's; an eye on what passes.
    ...['dnsmasq-base', 'kea-dhcp4-server', 'kea-dhcp6-server', 'busybox-static', 'tshark'],
    // Hands a socket over, as a socket unit does.
    'systemd',
    // Started on a bus of their own.
    ...['dbus', 'firewalld'],
  ],
  conformance: [...namespaces, 'containernetworking-plugins', 'dnsmasq-base', 'kea-dhcp4-server'],
  soak: [...namespaces, 'kea-dhcp4-server'],
  served: [...namespaces, 'containernetworking-plugins'],
  e2e: [...namespaces, 'containernetworking-plugins', 'containerd', 'runc', 'busybox-static'],
  'stock-kernel': [
    ...namespaces,
    // python3 captures frames: it can ask a packet socket for the tags that the kernel took out of them.
    ...['containernetworking-plugins', 'python3'],
    // DHCP servers.
    ...['dnsmasq-base', 'kea-dhcp4-server'],
    ...['qemu-system-x86', 'linux-image-amd64', 'busybox-static', 'cpio', 'kmod', 'xz-utils'],
  ],
}

const has = (program) => spawnSync(program, ['--version'], { stdio: 'ignore' }).error === undefined

const missing = (packages) => {
  if (!has('dpkg-query')) return packages
  // biome-ignore lint/suspicious/noTemplateCurlyInString: dpkg's own placeholders
  const format = '${Package} ${db:Status-Status}\n'
  const { stdout } = spawnSync('dpkg-query', ['-W', '-f', format, ...packages], { encoding: 'utf8' })
  const installed = new Set(stdout.split('\n').filter((line) => line.endsWith(' installed')))
  return packages.filter((name) => !installed.has(`${name} installed`))
}

const apt = (...args) => {
  const { status } = spawnSync('apt-get', ['-qq', '-o', 'DPkg::Lock::Timeout=600', ...args], {
    stdio: ['ignore', 'inherit', 'inherit'],
    env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive', NEEDRESTART_SUSPEND: '1' },
  })
  return status === 0
}

/**
 * Debian starts a daemon as it installs it, unless this script says no. The tests start their own, and nothing is to
 * be left running on the machine.
 */
const withoutServices = (work) => {
  const policy = '/usr/sbin/policy-rc.d'
  if (existsSync(policy)) return work()
  writeFileSync(policy, '#!/bin/sh\nexit 101\n', { mode: 0o755, flag: 'wx' })
  try {
    return work()
  } finally {
    rmSync(policy, { force: true })
  }
}

/** Of these packages, daemons that would start with the machine's next boot. A firewall is the worst of them. */
const services = ['firewalld', 'kea-dhcp4-server', 'kea-dhcp6-server']

/** Those that came with this installation are not to start by themselves, ever. */
const disable = (packages) => {
  const units = packages.filter((name) => services.includes(name)).map((name) => `${name}.service`)
  if (units.length > 0) spawnSync('systemctl', ['--root=/', 'disable', ...units], { stdio: 'ignore' })
}

/** Installs as many of them as it can. */
const install = (packages) =>
  withoutServices(() => {
    const args = ['install', '--yes', '--no-install-recommends', ...packages]
    // The lists may be missing or too old: an index that names files which the mirror has replaced.
    if (apt(...args) || (apt('update') && apt(...args))) return
    // What one package lacks is no reason to go without the others.
    for (const name of packages) apt('install', '--yes', '--no-install-recommends', name)
  })

/**
 * Installs what `groups` need, where this is allowed and possible.
 * @returns for each group that can't run, why not; and whether an installation was tried and failed
 */
export const ensurePackages = (groups) => {
  const needed = [...new Set(groups.flatMap((group) => packagesOf[group] ?? []))]
  let absent = missing(needed)
  if (absent.length === 0) return { leftOut: new Map(), failed: false }
  let reason = null
  if (!has('apt-get')) reason = 'there is no apt-get here'
  else if (process.getuid() !== 0) reason = 'only root may install'
  let failed = false
  if (!reason) {
    console.log(`installing ${absent.join(' ')}`)
    install(absent)
    const lacked = absent
    absent = missing(needed)
    disable(lacked.filter((name) => !absent.includes(name)))
    failed = absent.length > 0
    if (failed) reason = 'apt-get could not'
  }
  const leftOut = new Map()
  for (const group of groups) {
    const lacking = (packagesOf[group] ?? []).filter((name) => absent.includes(name))
    if (lacking.length > 0) leftOut.set(group, `${lacking.join(', ')} not installed: ${reason}`)
  }
  return { leftOut, failed }
}
