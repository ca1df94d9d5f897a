/** Judgements over configurations, addresses, STATUS and executables. */
import { describe, expect, it } from 'vitest'
import { type CheckBinariesOptions, checkBinaries } from '../../../../cli/commands/doctor/checks/binaries.ts'
import { checkConfDir } from '../../../../cli/commands/doctor/checks/conf-dir.ts'
import { checkInstallation } from '../../../../cli/commands/doctor/checks/installation.ts'
import { checkPools } from '../../../../cli/commands/doctor/checks/pools.ts'
import { checkStatus } from '../../../../cli/commands/doctor/checks/status.ts'
import type { BinaryFacts, FileState } from '../../../../cli/commands/doctor/facts/binaries.ts'
import type { ConfDirFacts, ConfFile, PluginFacts } from '../../../../cli/commands/doctor/facts/conf-dir.ts'
import type { InstallationFacts } from '../../../../cli/commands/doctor/facts/installation.ts'
import type { PoolFacts, SetFacts } from '../../../../cli/commands/doctor/facts/pools.ts'
import { needsOf } from '../../../../cli/commands/doctor/features.ts'
import type { Finding, Seen } from '../../../../cli/commands/doctor/finding.ts'
import { forwardedOf, neededOf, useOf, wantedOf } from '../../../../cli/commands/doctor/use.ts'
import type { JsonObject } from '../../../../cni/types.ts'

const seen = <T>(value: T): Seen<T> => ({ seen: true, value })
const notSeen = { seen: false, why: 'scandir: EACCES' } as const
const told = (findings: readonly Finding[]): Record<string, string> =>
  Object.fromEntries(findings.map(({ id, severity }) => [id, severity]))
const bad = (findings: readonly Finding[]): Record<string, string> =>
  told(findings.filter(({ severity }) => severity !== 'ok'))

const plugin = (type: string, conf: JsonObject = {}, more: Partial<PluginFacts> = {}): PluginFacts => ({
  type,
  ipam: '',
  own: true,
  problem: null,
  conf: { type, ...conf },
  ...more,
})
const file = (name: string, network: string | null, ...plugins: PluginFacts[]): ConfFile => ({
  file: name,
  misnamed: false,
  forbidden: false,
  problem: network === null ? { msg: 'broken' } : null,
  network:
    network === null
      ? null
      : {
          file: name,
          name: network,
          plugins,
          conf: {
            name: network,
            cniVersion: '1.0.0',
            disableCheck: false,
            disableGC: false,
            plugins: [],
            text: '',
          },
        },
})
const networksOf = (...files: ConfFile[]) => files.flatMap(({ network }) => network ?? [])

describe('configurations', () => {
  const judge = (files: readonly ConfFile[], only: readonly string[] = [], more = 0) => {
    const facts: ConfDirFacts = { directory: '/etc/cni/net.d', isNoFolder: false, files, more }
    return bad(checkConfDir(seen(facts), facts.directory, only))
  }
  const good = file('10-net.conflist', 'net', plugin('bridge'), plugin('portmap'))

  it('are fine, or none', () => {
    expect(judge([good])).toEqual({})
    expect(judge([])).toEqual({ 'conf.first': 'warning' })
    expect(told(checkConfDir(notSeen, '/x', []))).toEqual({ 'conf.first': 'unknown' })
    const none = { directory: '/x', isNoFolder: true, files: [], more: 0 }
    expect(told(checkConfDir(seen(none), '/x', []))).toEqual({ 'conf.first': 'failure' })
  })
  it('are broken, first or later', () => {
    expect(judge([file('05.conflist', null), good])).toEqual({
      'conf.first': 'failure',
      'conf.file.05.conflist': 'failure',
    })
    expect(judge([good, file('20.conflist', null)])).toEqual({ 'conf.file.20.conflist': 'warning' })
    expect(judge([good, file('20.conflist', null)], ['net'])).toEqual({})
    expect(judge([good], ['other'])).toEqual({ 'conf.missing.other': 'failure' })
  })
  it('may not be read', () => {
    const forbidden = { ...file('05.conflist', null), forbidden: true }
    expect(judge([forbidden, good])).toEqual({ 'conf.first': 'unknown', 'conf.file.05.conflist': 'unknown' })
  })
  it('do not validate, or chain what makes no interface', () => {
    const wrong = plugin('bridge', {}, { problem: { msg: 'mtu: expected integer' } })
    expect(judge([file('1.conflist', 'net', wrong)])).toEqual({ 'conf.plugin.net.0': 'failure' })
    expect(judge([file('1.conflist', 'net', plugin('portmap'))])).toEqual({ 'conf.chain.net': 'failure' })
  })
  it('have names that mislead', () => {
    expect(judge([good, { ...file('20.json', 'other', plugin('ptp')), misnamed: true }])).toEqual({
      'conf.name.20.json': 'warning',
    })
    expect(judge([{ ...good, misnamed: true }])['conf.first']).toBe('failure')
    expect(judge([good, file('20.conflist', 'net', plugin('ptp'))])).toEqual({
      'conf.duplicate.net': 'warning',
    })
    expect(judge([good], [], 3)).toEqual({ 'conf.many': 'warning' })
  })
})

describe('what networks make of the host', () => {
  it('needs features', () => {
    expect(needsOf('bridge', {})).toEqual(['veth', 'bridge'])
    expect(needsOf('bridge', { vlan: 0 })).not.toContain('bridge-vlan-filtering')
    expect(needsOf('bridge', { VLAN: 5 })).toContain('bridge-vlan-filtering')
    expect(needsOf('bridge', { vlanTrunk: [] })).toContain('bridge-vlan-filtering')
    expect(needsOf('ipvlan', { mode: 'l3s' })).toEqual(['ipvlan', 'ipvlan-l3s'])
    expect(needsOf('tap', {})).toEqual(['tun'])
    expect(needsOf('bandwidth', {})).not.toContain('htb')
    expect(needsOf('bandwidth', { runtimeConfig: { bandwidth: { shapedSubnets: [] } } })).toContain('htb')
    expect(needsOf('flannel', {})).toEqual(['veth', 'bridge'])
    expect(needsOf('flannel', { delegate: { type: 'ptp' } })).toEqual(['veth'])
    expect(needsOf('flannel', { delegate: { type: 'flannel' } })).toEqual([])
    expect(needsOf('whatever', {})).toEqual([])
    const networks = networksOf(
      file('1', 'a', plugin('ptp')),
      file('2', 'b', plugin('bridge', { isGateway: true }), plugin('firewall')),
    )
    expect(neededOf(networks).get('veth')).toEqual(['a', 'b'])
    expect(forwardedOf(networks)).toEqual([
      { name: 'a', permitted: false },
      { name: 'b', permitted: true },
    ])
  })
  it('relies on forwarding, and has containers with several interfaces', () => {
    const networks = networksOf(
      file('1', 'a', plugin('ptp')),
      file('2', 'b', plugin('macvlan')),
      file('3', 'c', plugin('macvlan'), plugin('sbr')),
    )
    const attachment = (network: string, containerId: string, ifName: string) =>
      ({ network, containerId, ifName, netnsPath: '/x', namespace: 'there', families: [4] }) as const
    const use = useOf(networks, [
      attachment('a', 'one', 'eth0'),
      attachment('b', 'one', 'net1'),
      attachment('a', 'two', 'eth0'),
      attachment('c', 'two', 'net1'),
      { ...attachment('a', 'three', 'eth0'), namespace: 'gone' },
    ])
    expect(use).toEqual({ routed: ['a'], bridged: [], running: { 4: 2, 6: 0 }, multihomed: ['one'] })
  })
})

describe('addresses', () => {
  const set = (subnet: string, used: number, size = 10n, first = 2n, from = 0n): SetFacts => ({
    size,
    used,
    text: `${size} addresses`,
    spans: [{ family: 4, first: from + first, last: from + first + size, from, to: from + 255n, subnet }],
  })
  const pool = (network: string, more: Partial<PoolFacts> = {}): PoolFacts => ({
    network,
    type: 'bridge',
    bridge: 'cni0',
    directory: `/var/lib/cni/networks/${network}`,
    sets: [set('10.0.0.0/24', 1)],
    keptByReboot: true,
    beforeBoot: 0,
    ...more,
  })
  const judge = (...pools: PoolFacts[]) => bad(checkPools(seen(pools)))

  it('are left, nearly used up, used up', () => {
    expect(judge(pool('a'))).toEqual({})
    expect(judge(pool('a', { sets: [set('x', 8)] }))).toEqual({})
    expect(judge(pool('a', { sets: [set('x', 9)] }))).toEqual({ 'network.range.a.0': 'warning' })
    expect(judge(pool('a', { sets: [set('x', 0), set('x', 10)] }))).toEqual({
      'network.range.a.1': 'failure',
    })
    expect(judge(pool('a', { sets: [set('x', 0, 0n)] }))).toEqual({ 'network.range.a.0': 'failure' })
    expect(told(checkPools(notSeen))).toEqual({ 'network.ranges': 'unknown' })
  })
  it('are reserved since before the machine was started', () => {
    expect(judge(pool('a', { beforeBoot: 2 }))).toEqual({ 'network.data-dir.a': 'warning' })
    expect(judge(pool('a', { beforeBoot: 2, keptByReboot: false }))).toEqual({})
  })
  it('are in two networks', () => {
    const b = (more: Partial<PoolFacts>) => pool('b', more)
    expect(judge(pool('a'), b({}))).toEqual({ 'network.overlap.a.b': 'warning' })
    expect(judge(pool('a'), b({ directory: pool('a').directory }))).toEqual({})
    const apart = [set('10.0.0.0/24', 1, 10n, 100n)]
    expect(judge(pool('a'), b({ sets: apart, bridge: 'cni1' }))).toEqual({ 'network.overlap.a.b': 'warning' })
    expect(judge(pool('a'), b({ sets: apart }))).toEqual({})
    expect(judge(pool('a', { type: 'macvlan', bridge: null }), b({ sets: apart }))).toEqual({})
    expect(judge(pool('a'), b({ sets: [set('10.0.1.0/24', 1, 10n, 2n, 256n)] }))).toEqual({})
  })
})

describe('STATUS', () => {
  const judge = (code: number | null, privileged = true) =>
    told(
      checkStatus(
        [
          {
            network: 'net',
            index: 1,
            type: 'x',
            answer: code === null ? null : { code, problem: code === 0 ? null : { msg: 'no' } },
          },
        ],
        privileged,
      ),
    )
  it('fails, warns and is not asked', () => {
    expect(judge(0)).toEqual({ 'network.status.net.1': 'ok' })
    expect(judge(50)).toEqual({ 'network.status.net.1': 'failure' })
    expect(judge(50, false)).toEqual({ 'network.status.net.1': 'unknown' })
    expect(judge(7)).toEqual({ 'network.status.net.1': 'failure' })
    expect(judge(51)).toEqual({ 'network.status.net.1': 'warning' })
    expect(judge(null)).toEqual({ 'network.status.net.1': 'ok' })
  })
})

describe('executables', () => {
  const there = (type: string, more: Partial<Extract<FileState, { state: 'there' }>> = {}): FileState => ({
    state: 'there',
    path: `/bin/${type}`,
    real: `/bin/${type}`,
    maker: 'go',
    home: null,
    changeable: null,
    changed: null,
    ...more,
  })
  const binary = (type: string, file: FileState, more: Partial<BinaryFacts> = {}): BinaryFacts => ({
    type,
    file,
    version: file.state === 'there' ? { supported: ['1.0.0'] } : null,
    release: null,
    standalone: null,
    ...more,
  })
  const networks = networksOf(
    file('1', 'net', plugin('bridge', {}, { ipam: 'host-local' }), plugin('portmap')),
  )
  const options: CheckBinariesOptions = {
    directories: ['/bin'],
    wanted: wantedOf(networks, new Set(['bridge', 'host-local', 'portmap', 'vlan'])),
    networks: [{ name: 'net', version: '1.0.0', types: ['bridge', 'portmap'] }],
  }
  const fine = [
    binary('bridge', there('bridge')),
    binary('portmap', there('portmap')),
    binary('host-local', there('host-local')),
  ]
  const judge = (...binaries: BinaryFacts[]) =>
    bad(
      checkBinaries(
        seen([...fine.filter(({ type }) => !binaries.some((one) => one.type === type)), ...binaries]),
        options,
      ),
    )

  it('are fine, or not needed', () => {
    expect(judge()).toEqual({})
    expect(judge(binary('vlan', { state: 'missing' }))).toEqual({})
    expect(told(checkBinaries(notSeen, options))).toEqual({ binary: 'unknown' })
  })
  it('are missing, dangling, no files, not executable', () => {
    expect(judge(binary('bridge', { state: 'missing' }))).toEqual({ 'binary.bridge': 'failure' })
    for (const state of ['dangling', 'not-a-file', 'not-executable'] as const) {
      expect(judge(binary('bridge', { state, path: '/bin/bridge' }))).toEqual({ 'binary.bridge': 'failure' })
      expect(judge(binary('vlan', { state, path: '/bin/vlan' }))).toEqual({ 'binary.vlan': 'warning' })
    }
  })
  it('assign addresses in process where both are ours', () => {
    const missing = binary('host-local', { state: 'missing' })
    expect(judge(missing)).toEqual({ 'binary.host-local': 'failure' })
    expect(judge(missing, binary('bridge', there('bridge', { maker: 'linkwright' })))).toEqual({})
  })
  it('do not answer, or not for the version', () => {
    expect(judge(binary('bridge', there('bridge'), { version: { failed: 'late' } }))).toEqual({
      'binary.bridge': 'failure',
    })
    expect(judge(binary('vlan', there('vlan'), { version: { failed: 'late' } }))).toEqual({
      'binary.vlan': 'warning',
    })
    expect(judge(binary('bridge', there('bridge'), { version: { supported: ['0.4.0'] } }))).toEqual({
      'binary.version.net.bridge': 'failure',
    })
  })
  it('are not executed where anybody can change them', () => {
    expect(
      judge(binary('bridge', there('bridge', { changeable: '/bin can be written' }), { version: null })),
    ).toEqual({
      'binary.bridge': 'warning',
    })
  })
  it('are not what was installed', () => {
    const changed = { maker: 'linkwright', changed: '/lib/1' } as const
    expect(judge(binary('bridge', there('bridge', changed), { version: null }))).toEqual({
      'binary.bridge': 'failure',
    })
    expect(judge(binary('vlan', there('vlan', changed), { version: null }))).toEqual({
      'binary.vlan': 'failure',
    })
  })
  it('can not be looked at', () => {
    const unseen = { state: 'unseen', path: '/bin/bridge', why: 'EACCES: permission denied' } as const
    expect(judge(binary('bridge', unseen))).toEqual({ 'binary.bridge': 'unknown' })
    const standalone = { path: '/lib/linkwright-cni', usable: null }
    const ours = there('bridge', { maker: 'linkwright' })
    expect(judge(binary('bridge', ours, { version: null, standalone }))).toEqual({
      'binary.bridge': 'unknown',
    })
  })
  it('are of one release, with a program to start', () => {
    const ours = there('bridge', { maker: 'linkwright' })
    const standalone = { path: '/lib/linkwright-cni', usable: false }
    expect(judge(binary('bridge', ours, { standalone }))).toEqual({ 'binary.standalone.bridge': 'failure' })
    expect(judge(binary('bridge', ours, { standalone: { ...standalone, usable: true } }))).toEqual({})
    expect(
      judge(
        binary('bridge', ours, { release: '1.0.0' }),
        binary('portmap', there('portmap', { maker: 'linkwright' }), { release: '1.1.0' }),
      ),
    ).toEqual({ 'binary.releases': 'warning' })
  })
  it('belong to the installation', () => {
    const whole: InstallationFacts = {
      lib: '/opt/lib',
      current: '/opt/lib/1',
      launcher: true,
      standalone: true,
      changes: { version: false, types: [] },
    }
    const ours = binary(
      'bridge',
      there('bridge', { maker: 'linkwright', real: '/opt/lib/1/linkwright-launcher' }),
    )
    const judge = (more: Partial<InstallationFacts>, ...binaries: BinaryFacts[]) =>
      told(checkInstallation(seen({ ...whole, ...more }), binaries))
    expect(judge({}, ours, ...fine)).toEqual({ 'binary.installation': 'ok' })
    expect(judge({ standalone: false })).toEqual({ 'binary.installation': 'warning' })
    expect(judge({ changes: null })).toEqual({ 'binary.installation': 'ok' })
    for (const changes of [
      { version: true, types: [] },
      { version: false, types: ['bridge'] },
    ])
      expect(judge({ changes })).toEqual({ 'binary.installation': 'failure' })
    expect(judge({ lib: '/opt/li' }, ours)).toMatchObject({ 'binary.elsewhere': 'warning' })
    expect(checkInstallation(seen(null), [])).toEqual([])
    expect(told(checkInstallation(notSeen, []))).toEqual({ 'binary.installation': 'unknown' })
  })
})
