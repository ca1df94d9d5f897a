/** Settings of the host's network that attachments rely on. */
import type { Settings, SettingsFacts } from '../facts/settings.ts'
import { count, type Finding, ok, unseen, warning } from '../finding.ts'

/** What the settings are judged by. */
export interface Use {
  /** Networks whose containers are reached by way of the host: bridge with a gateway, ptp, ipvlan in the l3 modes. */
  readonly routed: readonly string[]
  /** Networks of the plugin bridge. */
  readonly bridged: readonly string[]
  /** Attachments of routed networks whose containers run, by the families of their addresses. */
  readonly running: { readonly 4: number; readonly 6: number }
  /** Running containers with several interfaces, and none of them with the plugin sbr. */
  readonly multihomed: readonly string[]
}

const forwardingOf = {
  4: { id: 'settings.ip-forward', name: 'net/ipv4/ip_forward', family: 'IPv4' },
  6: { id: 'settings.ipv6-forwarding', name: 'net/ipv6/conf/all/forwarding', family: 'IPv6' },
} as const

const checkForwarding = (settings: Settings, { running }: Use, version: 4 | 6): Finding => {
  const { id, name, family } = forwardingOf[version]
  const value = settings[name]
  const facts = { setting: name, value: value ?? null, runningAttachments: running[version] }
  if (value === undefined)
    return running[version] > 0
      ? warning(
          id,
          `this kernel has no ${family}, which ${count(running[version], 'running attachment')} use`,
          { facts },
        )
      : ok(id, `this kernel has no ${family}`, { facts })
  if (value !== '0') return ok(id, `${family} packets are forwarded`, { facts })
  if (running[version] === 0)
    return ok(id, `${family} packets are not forwarded: an ADD that needs it turns it on`, { facts })
  return warning(
    id,
    `${family} packets are not forwarded, but ${count(running[version], 'attachment')} rely on it`,
    {
      advice: `something has turned it off: sysctl -w ${name.replaceAll('/', '.')}=1, and look in /etc/sysctl.d`,
      facts,
    },
  )
}

const checkBridgeCalls = (settings: Settings, { bridged }: Use, kubelet: boolean): Finding => {
  const id = 'settings.bridge-nf-call'
  const [v4, v6] = [
    settings['net/bridge/bridge-nf-call-iptables'],
    settings['net/bridge/bridge-nf-call-ip6tables'],
  ]
  const facts = { iptables: v4 ?? null, ip6tables: v6 ?? null, kubelet, networks: bridged }
  if (v4 !== undefined && v4 !== '0' && v6 !== '0')
    return ok(id, 'packets within a bridge pass the rules for forwarded packets', { facts })
  const what = v4 === undefined ? 'br_netfilter is not loaded' : 'bridge-nf-call-iptables or -ip6tables is 0'
  if (!kubelet || bridged.length === 0)
    return ok(id, `packets within a bridge do not pass the rules for forwarded packets: ${what}`, { facts })
  return warning(id, `${what}: Services do not work between pods of one bridge (${bridged.join(', ')})`, {
    advice:
      'modprobe br_netfilter; sysctl -w net.bridge.bridge-nf-call-iptables=1 net.bridge.bridge-nf-call-ip6tables=1; keep both in /etc/modules-load.d and /etc/sysctl.d',
    facts,
  })
}

const checkReversePath = (settings: Settings, { multihomed }: Use): Finding => {
  const id = 'settings.rp-filter'
  const all = settings['net/ipv4/conf/all/rp_filter']
  const fallback = settings['net/ipv4/conf/default/rp_filter']
  const facts = { all: all ?? null, default: fallback ?? null, multihomed: multihomed.slice(0, 20) }
  // The kernel takes the higher of `all` and the interface's own; 1 is strict, 2 loose (ip-sysctl).
  const strict = all === '1' || (all === '0' && fallback === '1')
  if (!strict) return ok(id, 'reverse path filtering is not strict', { facts })
  if (multihomed.length === 0) return ok(id, 'reverse path filtering is strict', { facts })
  return warning(
    id,
    `reverse path filtering is strict, and new containers inherit it: ${count(multihomed.length, 'container')} with several interfaces may lose packets`,
    {
      advice:
        'add the plugin sbr to the lists of their networks, or set net.ipv4.conf.IFNAME.rp_filter to 2 by the plugin tuning',
      facts,
    },
  )
}

/** Of a table, from where on it is nearly full. */
const NEARLY = 0.9

const checkConntrack = (settings: Settings): Finding => {
  const id = 'settings.conntrack'
  const used = Number(settings['net/netfilter/nf_conntrack_count'] ?? Number.NaN)
  const most = Number(settings['net/netfilter/nf_conntrack_max'] ?? Number.NaN)
  if (Number.isNaN(used) || Number.isNaN(most)) return ok(id, 'connections are not tracked now')
  const facts = { used, most }
  // 0: without limit.
  if (most === 0 || used < most * NEARLY)
    return ok(id, `${used} of ${most === 0 ? 'any number of' : most} connections are tracked`, { facts })
  return warning(id, `the table of connections is nearly full: ${used} of ${most}`, {
    advice: `new connections will be dropped: sysctl -w net.netfilter.nf_conntrack_max=${most * 2}, and find who opens them (conntrack -L)`,
    facts,
  })
}

export const checkSettings = ({ settings, kubelet }: SettingsFacts, use: Use): readonly Finding[] => {
  if (!settings.seen) return [unseen('settings', 'settings below /proc/sys/net', settings.why)]
  const { value } = settings
  return [
    checkForwarding(value, use, 4),
    checkForwarding(value, use, 6),
    checkBridgeCalls(value, use, kubelet),
    checkReversePath(value, use),
    checkConntrack(value),
  ]
}
