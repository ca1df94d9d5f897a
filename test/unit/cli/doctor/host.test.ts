/** Judgements over the kernel, packet filters, settings and limits. */
import { describe, expect, it } from 'vitest'
import { checkFiltering } from '../../../../cli/commands/doctor/checks/filtering.ts'
import { checkKernel } from '../../../../cli/commands/doctor/checks/kernel.ts'
import { checkLimits } from '../../../../cli/commands/doctor/checks/limits.ts'
import { checkSettings, type Use } from '../../../../cli/commands/doctor/checks/settings.ts'
import type { FilteringFacts } from '../../../../cli/commands/doctor/facts/filtering.ts'
import type { KernelFacts, Tried } from '../../../../cli/commands/doctor/facts/kernel.ts'
import type { ModuleState } from '../../../../cli/commands/doctor/facts/modules.ts'
import type { LimitFacts, Settings } from '../../../../cli/commands/doctor/facts/settings.ts'
import { type Feature, features } from '../../../../cli/commands/doctor/features.ts'
import type { Finding, Seen } from '../../../../cli/commands/doctor/finding.ts'

const seen = <T>(value: T): Seen<T> => ({ seen: true, value })
const notSeen = { seen: false, why: 'open: EPERM' } as const
const find = (findings: readonly Finding[], id: string): Finding => {
  const found = findings.filter((finding) => finding.id === id)
  expect(found, id).toHaveLength(1)
  return found[0]!
}

describe('kernel', () => {
  const missing: Tried = { outcome: 'missing', why: 'EOPNOTSUPP' }
  const works = Object.fromEntries(
    Object.keys(features).map((feature) => [feature, { outcome: 'works' }]),
  ) as Record<Feature, Tried>
  const kernel = (
    tried: KernelFacts['tried'] | null,
    states: Readonly<Record<string, ModuleState>> = {},
    known = true,
  ): KernelFacts => ({
    release: '6.1.0',
    modules: { known, states },
    tried: tried ?? {},
    untried: tried ? '' : 'EPERM',
  })
  const judge = (facts: KernelFacts, feature: Feature, ...users: string[]): Finding =>
    find(checkKernel(facts, new Map(users.length > 0 ? [[feature, users]] : [])), features[feature].id)

  it('is fine with everything', () => {
    const all = checkKernel(kernel(works), new Map())
    expect(all).toHaveLength(Object.keys(features).length)
    expect(all.every(({ severity }) => severity === 'ok')).toBe(true)
    expect(new Set(all.map(({ id }) => id)).size).toBe(all.length)
  })

  it('fails by what a network needs, and warns of what none does', () => {
    const facts = kernel({ ...works, ipvlan: missing }, { ipvlan: 'file' })
    expect(judge(facts, 'ipvlan')).toMatchObject({
      severity: 'warning',
      advice: expect.stringMatching(/modprobe ipvlan/),
    })
    expect(judge(facts, 'ipvlan', 'net')).toMatchObject({
      id: 'kernel.link.ipvlan',
      severity: 'failure',
      message: expect.stringMatching(/needed by net/),
      facts: { option: 'CONFIG_IPVLAN', moduleState: 'file', neededBy: ['net'], kernelSays: 'EOPNOTSUPP' },
    })
    const plain = kernel({ ...works, vxlan: missing })
    expect(judge(plain, 'vxlan').severity).toBe('ok')
  })

  it('names module and option, as far as they are known', () => {
    const tried: KernelFacts['tried'] = { ...works, vlan: missing, 'bridge-vlan-filtering': missing }
    expect(judge(kernel(tried, { '8021q': 'none' }), 'vlan').advice).toContain(
      'no module 8021q (CONFIG_VLAN_8021Q)',
    )
    expect(judge(kernel(tried, {}, false), 'vlan').advice).toContain('modprobe 8021q')
    expect(judge(kernel(tried, { bridge: 'built-in' }), 'bridge-vlan-filtering').advice).toContain(
      'built with CONFIG_BRIDGE_VLAN_FILTERING',
    )
  })

  it('tells another error from a missing feature', () => {
    const facts = kernel({ ...works, veth: { outcome: 'error', why: 'ENOMEM' } })
    expect(judge(facts, 'veth', 'net')).toMatchObject({
      severity: 'failure',
      message: expect.stringMatching(/ENOMEM/),
      advice: expect.stringMatching(/dmesg/),
    })
  })

  it('goes by lists of modules where it may not try', () => {
    const facts = kernel(null, { veth: 'loaded', ipvlan: 'none', bridge: 'loaded' })
    expect(judge(facts, 'veth').severity).toBe('ok')
    expect(judge(facts, 'ipvlan', 'net').severity).toBe('failure')
    expect(judge(facts, 'bridge-vlan-filtering')).toMatchObject({
      severity: 'unknown',
      advice: expect.stringMatching(/root/),
    })
    expect(judge(kernel(null, {}, false), 'veth').severity).toBe('unknown')
  })
})

describe('packet filters', () => {
  const fine: FilteringFacts = {
    nftables: seen(null),
    xtables: seen(null),
    legacy: seen({ ipv4: [], ipv6: [] }),
    tables: seen(['ip nat']),
    dropping: seen([]),
  }
  const judge = (facts: Partial<FilteringFacts>, id: string, permitted = false): Finding =>
    find(checkFiltering({ ...fine, ...facts }, [{ name: 'net', permitted }]), id)

  it('are fine', () => {
    expect(checkFiltering(fine, []).map(({ severity }) => severity)).toEqual(['ok', 'ok', 'ok', 'ok'])
  })
  it('warns where iptables has to do', () => {
    expect(judge({ nftables: seen('EINVAL') }, 'filter.nftables')).toMatchObject({
      severity: 'warning',
      advice: expect.stringMatching(/CONFIG_NF_TABLES/),
    })
    expect(judge({ xtables: seen('ENOENT') }, 'filter.xtables-matches').advice).toContain('CONFIG_NFT_COMPAT')
    expect(judge({ nftables: notSeen }, 'filter.nftables')).toMatchObject({
      severity: 'unknown',
      advice: expect.stringMatching(/root/),
    })
  })
  it('warns of the old xtables beside nf_tables only', () => {
    const legacy = seen({ ipv4: ['nat'], ipv6: ['filter'] })
    expect(judge({ legacy }, 'filter.legacy-xtables')).toMatchObject({
      severity: 'warning',
      facts: { legacy: ['ip nat', 'ip6 filter'], nftables: ['ip nat'] },
    })
    expect(judge({ legacy, tables: seen([]) }, 'filter.legacy-xtables').severity).toBe('ok')
    expect(judge({ legacy: notSeen }, 'filter.legacy-xtables').severity).toBe('unknown')
  })
  it('warns where packets of a network are dropped that nobody permits', () => {
    const dropping = seen(['ip filter FORWARD'])
    expect(judge({ dropping }, 'filter.forward-policy')).toMatchObject({
      severity: 'warning',
      facts: { networks: ['net'] },
    })
    expect(judge({ dropping }, 'filter.forward-policy', true).severity).toBe('ok')
    expect(judge({ dropping: notSeen }, 'filter.forward-policy').severity).toBe('unknown')
  })
})

describe('settings', () => {
  const fine: Settings = {
    'net/ipv4/ip_forward': '1',
    'net/ipv6/conf/all/forwarding': '1',
    'net/ipv4/conf/all/rp_filter': '0',
    'net/ipv4/conf/default/rp_filter': '0',
    'net/bridge/bridge-nf-call-iptables': '1',
    'net/bridge/bridge-nf-call-ip6tables': '1',
    'net/netfilter/nf_conntrack_count': '10',
    'net/netfilter/nf_conntrack_max': '100',
  }
  const idle: Use = { routed: [], bridged: [], running: { 4: 0, 6: 0 }, multihomed: [] }
  const judge = (settings: Settings, id: string, use: Partial<Use> = {}, kubelet = false): Finding =>
    find(
      checkSettings(
        { settings: seen({ ...fine, ...settings }), limits: notSeen, kubelet },
        { ...idle, ...use },
      ),
      id,
    )
  const without = (name: keyof Settings): Settings => ({ [name]: undefined }) as unknown as Settings

  it('forwarding has to be on once attachments rely on it', () => {
    const off = { 'net/ipv4/ip_forward': '0', 'net/ipv6/conf/all/forwarding': '0' }
    expect(judge(off, 'settings.ip-forward').severity).toBe('ok')
    expect(judge(off, 'settings.ip-forward', { running: { 4: 2, 6: 0 } })).toMatchObject({
      severity: 'warning',
      advice: expect.stringMatching(/net\.ipv4\.ip_forward=1/),
    })
    expect(judge(off, 'settings.ipv6-forwarding', { running: { 4: 2, 6: 0 } }).severity).toBe('ok')
    expect(judge(off, 'settings.ipv6-forwarding', { running: { 4: 0, 6: 1 } }).severity).toBe('warning')
    const none = without('net/ipv6/conf/all/forwarding')
    expect(judge(none, 'settings.ipv6-forwarding').severity).toBe('ok')
    expect(judge(none, 'settings.ipv6-forwarding', { running: { 4: 0, 6: 1 } }).severity).toBe('warning')
  })
  it('bridges of a node with a kubelet hand packets to netfilter', () => {
    const bridged = ['net']
    const id = 'settings.bridge-nf-call'
    expect(judge({}, id, { bridged }, true).severity).toBe('ok')
    for (const settings of [
      without('net/bridge/bridge-nf-call-iptables'),
      { 'net/bridge/bridge-nf-call-iptables': '0' },
      { 'net/bridge/bridge-nf-call-ip6tables': '0' },
    ]) {
      expect(judge(settings, id, { bridged }, true)).toMatchObject({
        severity: 'warning',
        advice: expect.stringMatching(/br_netfilter/),
      })
      expect(judge(settings, id, { bridged }, false).severity).toBe('ok')
      expect(judge(settings, id, {}, true).severity).toBe('ok')
    }
  })
  it('strict reverse path filtering is in the way of several interfaces', () => {
    const id = 'settings.rp-filter'
    const multihomed = ['one']
    const strict = { 'net/ipv4/conf/all/rp_filter': '1' }
    expect(judge(strict, id).severity).toBe('ok')
    expect(judge(strict, id, { multihomed })).toMatchObject({
      severity: 'warning',
      advice: expect.stringMatching(/sbr/),
    })
    expect(judge({ 'net/ipv4/conf/default/rp_filter': '1' }, id, { multihomed }).severity).toBe('warning')
    const loose = { 'net/ipv4/conf/all/rp_filter': '2', 'net/ipv4/conf/default/rp_filter': '1' }
    expect(judge(loose, id, { multihomed }).severity).toBe('ok')
  })
  it('the table of connections is nearly full', () => {
    const id = 'settings.conntrack'
    expect(judge({ 'net/netfilter/nf_conntrack_count': '89' }, id).severity).toBe('ok')
    expect(judge({ 'net/netfilter/nf_conntrack_count': '90' }, id)).toMatchObject({
      severity: 'warning',
      advice: expect.stringMatching(/=200/),
    })
    expect(judge({ 'net/netfilter/nf_conntrack_max': '0' }, id).severity).toBe('ok')
    expect(judge(without('net/netfilter/nf_conntrack_count'), id).severity).toBe('ok')
  })
  it('are not known without a look', () => {
    expect(checkSettings({ settings: notSeen, limits: notSeen, kubelet: false }, idle)).toMatchObject([
      { id: 'settings', severity: 'unknown', advice: 'run it as root' },
    ])
  })
})

describe('limits', () => {
  const fine: LimitFacts = {
    threads: [100, 1000],
    files: [100, 1000],
    inotifyInstances: 128,
    inotifyWatches: 8192,
    netNamespaces: 10,
  }
  const judge = (facts: Partial<LimitFacts>): readonly string[] =>
    checkLimits({ settings: notSeen, limits: seen({ ...fine, ...facts }), kubelet: false }).map(
      ({ severity }) => severity,
    )

  it('are far, near and reached', () => {
    expect(judge({})).toEqual(['ok', 'ok', 'ok', 'ok'])
    expect(judge({ threads: [900, 1000] })[0]).toBe('warning')
    expect(judge({ threads: [995, 1000] })[0]).toBe('failure')
    expect(judge({ files: [999, 1000] })[1]).toBe('failure')
    expect(judge({ inotifyInstances: 127 })[2]).toBe('warning')
    expect(judge({ inotifyWatches: 100 })[2]).toBe('warning')
    expect(judge({ netNamespaces: 0 })[3]).toBe('failure')
    expect(checkLimits({ settings: notSeen, limits: notSeen, kubelet: false })).toMatchObject([
      { id: 'limits', severity: 'unknown' },
    ])
  })
})
