import { spawnSync } from 'node:child_process'
import { existsSync, readdirSync, readFileSync } from 'node:fs'

/** What a program prints; nothing where it is not there or may not. */
const lines = (file, ...args) => {
  const { stdout } = spawnSync(file, args, { encoding: 'utf8', env: { ...process.env, LC_ALL: 'C' } })
  return (stdout ?? '').split('\n')
}

/** The files below a folder, at every depth. Empty folders of state stay where they are, as the Go plugins' do. */
const files = (path) =>
  existsSync(path)
    ? readdirSync(path, { recursive: true, withFileTypes: true })
        .filter((entry) => !entry.isDirectory())
        .map((entry) => `${entry.parentPath}/${entry.name}`)
    : []

/** Counters, times and the state of neighbours pass by themselves. */
const lasting = (line) =>
  line
    .replace(/ \[\d+:\d+\]$/, '')
    .replace(/(valid_lft|preferred_lft|expires) \w+/g, '')
    .replace(/ (tcn_timer|hello_timer|topology_change_timer|gc_timer) +[\d.]+/g, '')
    .trim()

/** What tests must leave as it was, line by line: this process's network namespace, mounts and CNI's folders. */
export const machineState = () =>
  Object.entries({
    link: lines('ip', '-d', '-o', 'link'),
    address: lines('ip', '-o', 'addr'),
    route: [
      ...lines('ip', '-4', 'route', 'show', 'table', 'all'),
      ...lines('ip', '-6', 'route', 'show', 'table', 'all'),
    ],
    rule: [...lines('ip', '-4', 'rule'), ...lines('ip', '-6', 'rule')],
    nftables: lines('nft', '-s', 'list', 'ruleset'),
    iptables: [...lines('iptables-save'), ...lines('ip6tables-save')].filter((line) => !line.startsWith('#')),
    namespace: lines('ip', 'netns', 'list'),
    mount: readFileSync('/proc/self/mounts', 'utf8').split('\n'),
    file: [
      '/run/netns',
      '/var/lib/cni',
      '/run/cni',
      '/opt/cni/bin',
      '/etc/cni/net.d',
      '/run/linkwright',
    ].flatMap(files),
    // Every setting of every interface: a plugin that writes to the wrong namespace shows here.
    sysctl: lines(
      'grep',
      '-rs',
      '',
      ...['ipv4/ip_forward', 'ipv4/conf', 'ipv6/conf'].map((name) => `/proc/sys/net/${name}`),
    ),
  }).flatMap(([what, all]) =>
    all
      .map(lasting)
      .filter((line) => line !== '')
      .map((line) => `${what}: ${line}`),
  )

/** Lines that one state has and the other has not, marked `-` (gone) and `+` (new). */
export const differences = (before, after) => [
  ...before.filter((line) => !after.includes(line)).map((line) => `- ${line}`),
  ...after.filter((line) => !before.includes(line)).map((line) => `+ ${line}`),
]
