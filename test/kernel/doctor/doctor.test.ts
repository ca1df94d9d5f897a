/** `linkwright doctor` on a private host: findings come with their cause, and go with it. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { expect, it } from 'vitest'
import type { JsonObject } from '../../../cni/types.ts'
import { plainEnv } from '../../support/program.ts'
import { type PrivateHost, type PrivateHostOptions, privateHost } from '../../support/space.ts'
import { eventually } from '../../support/wait.ts'

const dist = fileURLToPath(new URL('../../../dist', import.meta.url))
const linkwright = `${dist}/cli/linkwright.cjs`

interface Found {
  readonly severity: string
  readonly message: string
  readonly advice?: string
  readonly facts?: JsonObject
}
interface Report {
  readonly status: number | null
  readonly healthy: boolean
  readonly by: ReadonlyMap<string, Found>
  /** Ids of this severity. */
  of(severity: string): readonly string[]
}

const places = ['--conf-dir', '/run/conf', '--bin-dir', '/run/bin', '--socket', '/run/linkwright.sock']

/** A shell script in the place of a plugin: it answers VERSION. */
const standIn = `#!/bin/sh
[ "$CNI_COMMAND" = VERSION ] && echo '{"cniVersion":"1.0.0","supportedVersions":["1.0.0","1.1.0"]}'
`

const read = (stdout: string, status: number | null): Report => {
  const { healthy, findings } = JSON.parse(stdout) as {
    healthy: boolean
    findings: (Found & { id: string })[]
  }
  const by = new Map(findings.map((finding) => [finding.id, finding]))
  expect(by.size).toBe(findings.length)
  return {
    status,
    healthy,
    by,
    of: (severity) => findings.filter((one) => one.severity === severity).map(({ id }) => id),
  }
}

const node = async (options: PrivateHostOptions = {}) => {
  const host = await privateHost(options)
  await host.must('mkdir', ['/run/conf', '/run/bin'])
  const write = (path: string, text: string, mode = '0644') =>
    host.must('sh', ['-ec', 'cat > "$1" && chmod "$2" "$1"', 'sh', path, mode], { input: text })
  const install = (...types: string[]) =>
    Promise.all(types.map((type) => write(`/run/bin/${type}`, standIn, '0755')))
  const doctor = async (...args: string[]): Promise<Report> => {
    const { status, stdout, stderr } = await host.run(process.execPath, [
      linkwright,
      'doctor',
      '--json',
      ...places,
      ...args,
    ])
    expect(stderr).toBe('')
    return read(stdout, status)
  }
  return { host, write, install, doctor }
}

const list = (name: string, subnet: string, ...more: JsonObject[]): string =>
  JSON.stringify({
    cniVersion: '1.1.0',
    name,
    plugins: [{ type: 'ptp', ipMasq: true, ipam: { type: 'host-local', ranges: [[{ subnet }]] } }, ...more],
  })
const net = list('net', '10.31.0.0/24')

it('tells what is broken, and nothing once it is mended', async () => {
  const { host, write, install, doctor } = await node()
  await write('/run/conf/10-net.conflist', net)
  await install('ptp', 'host-local')
  const healthy = await doctor()
  expect(healthy.of('failure')).toEqual([])
  expect([healthy.status, healthy.healthy]).toEqual([0, true])
  expect(healthy.by.get('conf.first')).toMatchObject({ severity: 'ok', facts: { network: 'net' } })
  expect(healthy.by.get('network.status.net.0')).toMatchObject({ severity: 'ok' })
  expect(healthy.by.get('network.range.net.0')).toMatchObject({ severity: 'ok', facts: { size: '253' } })
  expect(healthy.by.get('kernel.link.veth')).toMatchObject({ facts: { neededBy: ['net'], tried: true } })
  expect(healthy.by.get('binary.ptp')).toMatchObject({ severity: 'ok', facts: { maker: 'other' } })

  await write('/run/conf/05-broken.conflist', '{"cniVersion": "1.0.0", "name": "broken"')
  await host.must('sh', [
    '-c',
    'rm /run/bin/ptp; ln -s /nowhere /run/bin/ptp; chmod 0644 /run/bin/host-local',
  ])
  const broken = await doctor()
  expect([broken.status, broken.healthy]).toEqual([1, false])
  expect([...broken.of('failure')].sort()).toEqual([
    'binary.host-local',
    'binary.ptp',
    'conf.file.05-broken.conflist',
    'conf.first',
  ])
  expect(broken.by.get('binary.ptp')?.message).toContain('dangling')
  for (const id of broken.of('failure')) expect(broken.by.get(id)?.advice, id).toMatch(/\w/)
  const asked = await doctor('--network', 'net', '--network', 'nowhere')
  // The runtime's own network is broken, whichever is asked about.
  expect([...asked.of('failure')].sort()).toEqual([
    'binary.host-local',
    'binary.ptp',
    'conf.first',
    'conf.missing.nowhere',
  ])

  await host.must('rm', ['/run/conf/05-broken.conflist', '/run/bin/ptp'])
  await install('ptp', 'host-local')
  const { stdout, status } = await host.run(process.execPath, [linkwright, 'doctor', ...places])
  expect(status).toBe(0)
  expect(stdout).not.toContain('\x1b')
  expect(stdout).toMatch(/^Kernel\n {2}ok {7}links of kind veth\n/)
  expect(stdout).toMatch(/\n0 failures, \d+ warnings?, \d+ ok, 0 unknown\n$/)
})

it('tells what the plugins of a network would refuse', async () => {
  const { host, write, install, doctor } = await node()
  const conf = (...plugins: JsonObject[]) => JSON.stringify({ cniVersion: '0.4.0', name: 'net', plugins })
  await install('macvlan', 'portmap', 'host-local', 'foreign')
  await write('/run/conf/10-net.conflist', conf({ type: 'macvlan', mode: 'sideways' }, { type: 'foreign' }))
  await write('/run/conf/20-list.json', list('other', '10.32.0.0/24'))
  await write('/run/conf/30-net.conf', JSON.stringify({ cniVersion: '1.0.0', name: 'net', type: 'portmap' }))
  const first = await doctor()
  expect(first.status).toBe(1)
  expect(first.by.get('conf.plugin.net.0')).toMatchObject({
    severity: 'failure',
    message: expect.stringMatching(/sideways/),
  })
  expect(first.by.get('binary.version.net.foreign')).toMatchObject({ severity: 'failure' })
  expect(first.by.get('conf.name.20-list.json')).toMatchObject({ severity: 'warning' })
  expect(first.by.get('conf.duplicate.net')).toMatchObject({
    severity: 'warning',
    facts: { files: ['10-net.conflist', '30-net.conf'] },
  })
  await write('/run/conf/10-net.conflist', conf({ type: 'macvlan', master: 'nowhere0' }))
  await write('/run/conf/40-same.conflist', list('same', '10.32.0.0/24'))
  await write(
    '/run/conf/50-leased.conf',
    '{"cniVersion":"1.0.0","name":"leased","type":"macvlan","master":"lo","ipam":{"type":"dhcp"}}',
  )
  // Somebody was killed who listened there.
  const listen = `require('net').createServer().listen('/run/linkwright.sock', () => process.kill(process.pid, 9))`
  await host.run(process.execPath, ['-e', listen])
  const second = await doctor()
  expect(second.by.get('network.overlap.other.same')).toMatchObject({ severity: 'warning' })
  expect(second.by.get('dhcp.keeper./run/cni/dhcp.sock')).toMatchObject({
    severity: 'failure',
    facts: { networks: ['leased'] },
  })
  expect(second.by.get('daemon.socket')).toMatchObject({
    severity: 'warning',
    message: expect.stringContaining('nobody listens'),
  })
  expect(second.by.get('network.status.net.0')).toMatchObject({
    severity: 'failure',
    message: expect.stringMatching(/nowhere0/),
  })
})

it('tells what attachments have left behind', async () => {
  const { host, write, install, doctor } = await node()
  const mapped = { type: 'portmap', capabilities: { portMappings: true }, snat: true }
  await write('/run/conf/10-net.conflist', list('net', '10.31.0.0/24', mapped))
  await install('ptp', 'host-local', 'portmap')
  const blue = await host.container('blue')
  const red = await host.container('red')
  const call = (verb: string, ...args: string[]) =>
    host.must(process.execPath, [linkwright, verb, '/run/conf/10-net.conflist', ...args])
  const ports = (hostPort: number) =>
    JSON.stringify({ portMappings: [{ hostPort, containerPort: 80, protocol: 'tcp' }] })
  await call('add', blue.sandbox, '--container-id', 'blue', '--capability-args', ports(8080))
  await call('add', red.sandbox, '--container-id', 'red', '--capability-args', ports(8081))
  const before = await doctor()
  expect(before.of('warning').filter((id) => id.startsWith('orphan'))).toEqual([])
  expect(before.by.get('orphan.attachment')?.message).toContain('2 attachments')
  expect(before.by.get('orphan.link')?.message).toContain('2 links')
  expect(before.by.get('settings.ip-forward')).toMatchObject({ facts: { runningAttachments: 2 } })

  // One that the cache has forgotten, and one whose namespace is gone.
  await host.must('rm', ['/var/lib/cni/results/net-blue-eth0'])
  await red.close()
  const after = await doctor()
  const orphans = after.of('warning').filter((id) => id.startsWith('orphan'))
  expect(orphans).toEqual([
    'orphan.attachment.net',
    'orphan.reservation.net',
    'orphan.link.net',
    'orphan.rule.net',
  ])
  expect(after.by.get('orphan.attachment.net')).toMatchObject({
    facts: { count: 1, first: [{ containerId: 'red' }] },
  })
  expect(after.by.get('orphan.reservation.net')).toMatchObject({ facts: { count: 1 } })
  expect(JSON.stringify(after.by.get('orphan.rule.net')?.facts)).toMatch(
    /masq_checks.*portmap_any|portmap_any.*masq_checks/,
  )
  expect(after.by.get('orphan.link.net')?.advice).toContain('linkwright gc net')
  expect(after.status).toBe(0)
  expect(
    (await doctor('--network', 'nowhere')).of('warning').filter((id) => id.startsWith('orphan')),
  ).toEqual([])

  await call('gc', '--keep-live')
  const collected = await doctor()
  expect(collected.of('warning').filter((id) => id.startsWith('orphan'))).toEqual([])
})

const ofOurs = async (host: PrivateHost): Promise<void> => {
  await host.must('sh', [
    '-ec',
    'cp -r "$1" /run/cni && chown -R 0:0 /run/cni && cd /run/bin && ln -s ../cni/bin/ptp ../cni/bin/host-local .',
    'sh',
    `${dist}/cni`,
  ])
}

it('knows executables of ours and their daemon, and changes nothing', async () => {
  const { host, write, doctor } = await node({ processes: true })
  await write('/run/conf/10-net.conflist', net)
  await ofOurs(host)
  const state = async () => [
    await host.must('ip', ['-o', 'link', 'show']),
    await host.must('nft', ['list', 'ruleset']),
    await host.must('find', ['/run/conf', '/var/lib', '/run/netns', '-printf', '%p %i %s\n']).catch(() => ''),
  ]
  const before = await state()
  const report = await doctor('--network', 'net')
  expect(await state()).toEqual(before)
  expect(report.by.get('binary.ptp')).toMatchObject({
    severity: 'ok',
    facts: { maker: 'linkwright', release: expect.stringMatching(/^\d+\.\d+\.\d+/) },
  })
  expect(report.by.get('daemon.socket')).toMatchObject({ severity: 'ok', facts: { file: 'none' } })
  expect(report.status).toBe(0)

  // Ends with the host.
  const [file, args] = host.command(process.execPath, [
    linkwright,
    'daemon',
    '--no-dhcp',
    '--socket',
    '/run/linkwright.sock',
  ])
  const daemon = spawn(file, args, { stdio: 'ignore', env: plainEnv })
  const ended = once(daemon, 'close')
  await eventually('the daemon listens', () => existsSync(host.file('/run/linkwright.sock')))
  const served = await doctor('--network', 'net')
  const release = served.by.get('binary.ptp')?.facts?.release
  expect(served.by.get('daemon.socket')).toMatchObject({ severity: 'ok', facts: { version: release } })
  expect(served.of('warning').filter((id) => id.startsWith('daemon'))).toEqual([])
  expect(served.status).toBe(0)
  await host.close()
  await ended
})

it('tells of what is no folder, and of the rest all the same', async () => {
  const { host, write, install, doctor } = await node()
  await write('/run/conf/10-net.conflist', net)
  await write('/run/conf/20-broken.conflist', '{')
  await install('ptp', 'host-local')
  await write('/run/file', '')
  const mixed = await doctor('--bin-dir', '/run/file:/run/bin')
  expect(mixed.by.get('binary.ptp')).toMatchObject({ severity: 'ok' })
  // No runtime takes it.
  expect(mixed.by.get('conf.file.20-broken.conflist')).toMatchObject({ severity: 'warning' })
  expect(mixed.status).toBe(0)
  const none = await doctor('--bin-dir', '/run/file')
  expect(none.of('failure')).toEqual(['binary.host-local', 'binary.ptp'])
  expect(none.status).toBe(1)
  const elsewhere = await doctor('--conf-dir', '/run/file')
  expect([elsewhere.of('failure'), elsewhere.status]).toEqual([['conf.first'], 1])
  await host.must('mkdir', ['-p', '/var/lib/cni/results'])
  await host.must('mkfifo', ['/var/lib/cni/results/fifo'])
  expect((await doctor()).by.get('orphan.cache')).toMatchObject({
    severity: 'warning',
    facts: { first: [expect.objectContaining({ why: 'it is no file' })] },
  })
})

it('executes nothing that others could put there', async () => {
  const { host, write, install, doctor } = await node()
  await write('/run/conf/10-net.conflist', net)
  await write('/run/conf/20-foreign.conflist', list('foreign', '10.32.0.0/24', { type: 'foreign' }))
  await install('ptp', 'host-local')
  await write('/run/bin/foreign', `${standIn}\necho "$CNI_COMMAND" >>/run/trace\n`, '0755')
  expect((await doctor()).by.get('network.status.foreign.1')).toMatchObject({ severity: 'ok' })
  expect(await host.must('cat', ['/run/trace'])).toContain('STATUS')
  await host.must('rm', ['/run/trace'])
  await host.must('chmod', ['777', '/run/bin'])
  const { by } = await doctor()
  expect(await host.must('ls', ['/run'])).not.toContain('trace')
  for (const type of ['ptp', 'host-local'])
    expect(by.get(`binary.${type}`)).toMatchObject({
      severity: 'warning',
      message: expect.stringContaining('/run/bin can be written by everybody'),
    })
})

it('knows a plugin that somebody has written over', async () => {
  const { host, write, doctor } = await node()
  await write('/run/conf/10-net.conflist', net)
  const where = ['--bin-dir', '/run/bin', '--prefix', '/run/opt']
  await host.must('sh', ['-ec', 'cp -r "$1" /run/cni && chown -R 0:0 /run/cni', 'sh', `${dist}/cni`])
  await host.must(process.execPath, [linkwright, 'install', '--from', '/run/cni', ...where])
  const whole = await doctor(...where)
  expect(whole.by.get('binary.installation')).toMatchObject({ severity: 'ok' })
  expect(whole.by.get('binary.ptp')).toMatchObject({ severity: 'ok', facts: { maker: 'linkwright' } })
  expect(whole.status).toBe(0)
  // As a DaemonSet of flannel does.
  await write('/run/flannel', standIn, '0755')
  await host.must('cp', ['-f', '/run/flannel', '/run/bin/flannel'])
  const changed = await doctor(...where)
  for (const id of ['binary.installation', 'binary.flannel'])
    expect(changed.by.get(id)).toMatchObject({
      severity: 'failure',
      message: expect.stringContaining('/run/opt/lib/linkwright/'),
    })
  expect(changed.status).toBe(1)
  await host.must(process.execPath, [linkwright, 'install', '--from', '/run/cni', ...where])
  expect((await doctor(...where)).of('failure')).toEqual([])
  // Two installations ask 19 plugins each.
}, 120_000)

it('tells what it may not see', async () => {
  const { host, write, install } = await node()
  await write('/run/conf/10-net.conflist', net)
  await install('ptp', 'host-local')
  await write('/run/conf/20-secret.conflist', list('secret', '10.32.0.0/24'))
  const hide = 'chmod 0600 "$@" && chown 1:1 "$@"'
  await host.must('sh', ['-ec', hide, 'sh', '/run/conf/20-secret.conflist'])
  await host.must('sh', [
    '-ec',
    `mkdir -p /var/lib/cni/results && echo {} > "$1" && ${hide}`,
    'sh',
    '/var/lib/cni/results/a',
  ])
  const powerless = ['--bounding-set', '-all', '--inh-caps', '-all']
  const { stdout, status } = await host.run('setpriv', [
    ...powerless,
    process.execPath,
    linkwright,
    'doctor',
    '--json',
    ...places,
  ])
  const { by } = read(stdout, status)
  expect(by.get('filter.nftables')).toMatchObject({ severity: 'unknown', advice: 'run it as root' })
  expect(by.get('orphan.attachment')).toMatchObject({ severity: 'unknown', advice: 'run it as root' })
  expect(by.get('conf.file.20-secret.conflist')).toMatchObject({ severity: 'unknown' })
  expect([...by.values()].filter(({ severity }) => severity === 'failure')).toEqual([])
  expect(status).toBe(0)
  expect(by.get('kernel.link.veth')).toMatchObject({ facts: { tried: false } })
  expect(by.get('conf.first')).toMatchObject({ severity: 'ok' })

  // Root can execute it.
  await host.must('chmod', ['0750', '/run/bin/ptp'])
  const other = ['--reuid', '65534', '--regid', '65534', '--clear-groups']
  const call = [process.execPath, linkwright, 'doctor', '--json', ...places]
  const plain = await host.run('setpriv', [...other, ...call])
  const seen = read(plain.stdout, plain.status)
  expect(seen.by.get('binary.ptp')).toMatchObject({ severity: 'unknown', advice: 'run it as root' })
  expect(seen.of('failure')).toEqual([])
  await host.must('chmod', ['0640', '/run/bin/ptp'])
  const never = await host.run('setpriv', [...other, ...call])
  expect(read(never.stdout, never.status).of('failure')).toEqual(['binary.ptp'])
})

it('refuses what is no argument of it', async () => {
  const { host } = await node()
  const call = (...args: string[]) => host.run(process.execPath, [linkwright, 'doctor', ...args])
  expect(await call('--socket', 'relative')).toMatchObject({ status: 2, stdout: '' })
  expect(await call('--socket', `/${'x'.repeat(107)}`)).toMatchObject({ status: 2 })
  expect(await call('net')).toMatchObject({ status: 2 })
  expect((await call('--help')).stdout).toContain('--conf-dir DIR')
})
