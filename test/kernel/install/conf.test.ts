/** --conf and --systemd. */
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { winnerOf } from '../../../cli/commands/install/conf.ts'
import { layoutOf } from '../../../cli/commands/install/layout.ts'
import { uninstall } from '../../../cli/commands/install/uninstall.ts'
import { toStart, unitText } from '../../../cli/commands/install/units.ts'
import { type BuildOptions, type Machine, machine } from './stand-in.ts'

const list = (...plugins: unknown[]): string =>
  JSON.stringify({ cniVersion: '1.0.0', name: 'mynet', plugins })
const bridge = { type: 'bridge', bridge: 'cni0', ipam: { type: 'host-local', subnet: '10.22.0.0/16' } }

const withConf = async (text: string, name = '10-mynet.conflist') => {
  const host = await machine()
  mkdirSync(join(host.root, 'build/conf'))
  const file = join(host.root, 'build/conf', name)
  writeFileSync(file, text)
  const confDir = join(host.root, 'etc/cni/net.d')
  return { host, file, confDir, args: ['--conf', file, '--conf-dir', confDir] }
}

describe('a configuration', () => {
  test('goes where runtimes look, and is gone after', async () => {
    const { host, args, confDir } = await withConf(list(bridge))
    const before = host.state()
    const { status, out } = await host.install(...args)
    expect(status).toBe(0)
    expect(readdirSync(confDir)).toEqual(['10-mynet.conflist'])
    expect(readFileSync(join(confDir, '10-mynet.conflist'), 'utf8')).toBe(list(bridge))
    expect(out).toContain(`10-mynet.conflist comes first in ${confDir}`)
    // Last: whoever reads it finds the plugins.
    const steps = out.split('\n').filter((line) => /^(link|write|switch) /.test(line))
    expect(steps.at(-1)).toBe(`write ${confDir}/10-mynet.conflist`)
    expect((await host.install(...args)).out).toContain('; nothing is to do')
    await host.uninstall()
    expect(host.state()).toEqual(before)
  })

  test('takes the place of one with the same name, which comes back', async () => {
    const { host, args, confDir } = await withConf(list(bridge))
    mkdirSync(confDir, { recursive: true })
    writeFileSync(join(confDir, '10-mynet.conflist'), 'old')
    writeFileSync(join(confDir, '05-first.conf'), 'other')
    const { out } = await host.install(...args)
    expect(out).toContain(`note: 05-first.conf comes before 10-mynet.conflist in ${confDir}`)
    await host.uninstall()
    expect(readFileSync(join(confDir, '10-mynet.conflist'), 'utf8')).toBe('old')
  })

  test.each([0o644, 0o600])(
    'that was there already, with mode %o, is not ours: it stays when all else goes',
    async (mode) => {
      const { host, args, confDir } = await withConf(list(bridge))
      mkdirSync(confDir, { recursive: true })
      writeFileSync(join(confDir, '10-mynet.conflist'), list(bridge), { mode })
      const before = host.state()
      expect((await host.install(...args)).status).toBe(0)
      expect((await host.install(...args)).out).toContain('; nothing is to do')
      expect(await host.uninstall()).toMatchObject({ status: 0, err: '' })
      expect(host.state()).toEqual(before)
    },
  )

  test('that somebody has edited since stays', async () => {
    const { host, args, confDir } = await withConf(list(bridge))
    await host.install(...args)
    writeFileSync(join(confDir, '10-mynet.conflist'), 'edited')
    const { out } = await host.uninstall()
    expect(out).toContain('10-mynet.conflist is left as it is')
    expect(readFileSync(join(confDir, '10-mynet.conflist'), 'utf8')).toBe('edited')
  })

  test('for root alone stays so', async () => {
    const { host, args, file, confDir } = await withConf(list(bridge))
    chmodSync(file, 0o600)
    await host.install(...args)
    const path = join(confDir, '10-mynet.conflist')
    expect(statSync(path).mode & 0o777).toBe(0o600)
    chmodSync(path, 0o666)
    expect((await host.install(...args)).out).toContain(`correct the permissions of ${path}`)
    expect(statSync(path).mode & 0o777).toBe(0o600)
  })

  test('with a plugin of somebody else that is not there: told', async () => {
    const { host, args } = await withConf(list(bridge, { type: 'calico' }, { type: 'cilium' }))
    host.putForeign('cilium')
    const { status, out } = await host.install(...args)
    expect(status).toBe(0)
    expect(out).toContain('note: plugin "calico" is not ours, and is not there\n')
    expect(out).not.toContain('"cilium"')
  })

  test('with an IPAM plugin that is not there: told', async () => {
    const { host, args } = await withConf(list({ ...bridge, ipam: { type: 'whereabouts' } }))
    const { status, out } = await host.install(...args)
    expect(status).toBe(0)
    expect(out).toContain('note: plugin "whereabouts" is not ours, and is not there\n')
  })

  test.each<[string, string, RegExp]>([
    ['no JSON', '{', /error parsing configuration list/],
    ['no list', '{"name":"x","type":"bridge"}', /no plugin configs found/],
    ['a wrong value', list({ ...bridge, mtu: 'big' }), /bridge\.mtu: expected/],
    [
      'a wrong value of the IPAM plugin',
      list({ ...bridge, ipam: { type: 'host-local', subnet: 7 } }),
      /subnet/,
    ],
    [
      'a plugin in the place of an IPAM plugin',
      list({ ...bridge, ipam: { type: 'ptp' } }),
      /not an IPAM plugin/,
    ],
    [
      'a version that nobody speaks',
      JSON.stringify({ cniVersion: '9.9.9', name: 'mynet', plugins: [bridge] }),
      /incompatible CNI versions\n.*9\.9\.9/,
    ],
    [
      'a plugin first that works on what others have made',
      list({ type: 'portmap', capabilities: { portMappings: true } }, bridge),
      /portmap comes first, but works on what another plugin has made\n {2}put it behind/,
    ],
    ['more than a configuration has', `${' '.repeat(2 << 20)}{}`, /is no file of at most/],
  ])('with %s is refused, and nothing is installed', async (_what, text, words) => {
    const { host, args } = await withConf(text)
    const { status, err } = await host.install(...args)
    expect(status).toBe(1)
    expect(err).toMatch(words)
    expect(existsSync(join(host.root, 'opt'))).toBe(false)
    expect(existsSync(join(host.root, 'etc'))).toBe(false)
  })

  test.each(['10-mynet.conf', '.hidden.conflist', 'a b.conflist'])('named %j is refused', async (name) => {
    const { host, args } = await withConf(list(bridge), name)
    const { status, err } = await host.install(...args)
    expect(status).toBe(1)
    expect(err).toContain('is named like 10-mynet.conflist')
  })

  test('that is not there is refused', async () => {
    const host = await machine()
    const { status, err } = await host.install('--conf', join(host.root, 'none.conflist'))
    expect(status).toBe(1)
    expect(err).toMatch(/reading .*none\.conflist: ENOENT/)
  })
})

test.each([
  [['10-b.conflist', '10-a.conf', '99.json'], '10-a.conf'],
  [['b.conflist', 'B.conflist'], 'B.conflist'],
  [['ü.conf', 'z.conf'], 'z.conf'],
  [['00-readme', '.linkwright-x', '00.conf.bak'], undefined],
])('of %j the first is %j', (names, winner) => expect(winnerOf(names)).toBe(winner))

const units = {
  'linkwright.service': '[Service]\nExecStart=/opt/linkwright/bin/linkwright daemon\n[Install]\n',
  'linkwright.socket': '[Socket]\nListenStream=/run/linkwright/linkwright.sock\n',
  'linkwright-dhcp.service': '[Service]\nExecStart=/opt/cni/bin/dhcp daemon\n',
  'linkwright-dhcp.socket': '[Socket]\n',
}

/** A machine with units, and a systemctl that writes down what it is told. */
const withUnits = async (script = '', build: BuildOptions = { units, command: true }) => {
  const host: Machine = await machine(build)
  mkdirSync(join(host.root, 'build/tools'))
  const log = join(host.root, 'build/tools/log')
  const program = join(host.root, 'build/tools/systemctl')
  const lines = [
    '#!/bin/sh',
    `echo "$*" >>${log}`,
    'case "$*" in',
    'is-*) exit 3 ;;',
    script,
    'esac',
    'exit 0',
  ]
  writeFileSync(program, `${lines.join('\n')}\n`, { mode: 0o755 })
  return {
    host,
    folder: join(host.root, 'etc/systemd/system'),
    program,
    told: () => (existsSync(log) ? readFileSync(log, 'utf8').trim().split('\n') : []),
  }
}

const uninstallBy = (host: Machine, systemctl: string) => {
  const layout = layoutOf({ binDir: host.binDir, prefix: host.prefix, copy: false })
  return uninstall({ layout, systemctl, signal: new AbortController().signal, dryRun: false })
}

describe('units', () => {
  test('name the places of this installation; nothing is started', async () => {
    const { host, folder } = await withUnits()
    const before = host.state()
    expect(await host.install('--systemd', '--systemd-dir', folder)).toMatchObject({ status: 0, err: '' })
    expect(readdirSync(folder)).toEqual(Object.keys(units).sort())
    expect(readFileSync(join(folder, 'linkwright.service'), 'utf8')).toBe(
      `[Service]\nExecStart=${host.prefix}/bin/linkwright daemon\n[Install]\n`,
    )
    expect(readFileSync(join(folder, 'linkwright-dhcp.service'), 'utf8')).toContain(
      `ExecStart=${host.binDir}/dhcp daemon`,
    )
    await host.uninstall()
    expect(host.state()).toEqual(before)
  })

  test('that were there already are not ours: they stay when all else goes', async () => {
    const { host, folder } = await withUnits()
    mkdirSync(folder, { recursive: true })
    for (const [name, text] of Object.entries(units))
      writeFileSync(join(folder, name), unitText(text, { command: `${host.prefix}/bin/linkwright`, ...host }))
    const before = host.state()
    expect(await host.install('--systemd', '--systemd-dir', folder)).toMatchObject({ status: 0, err: '' })
    expect(await host.uninstall()).toMatchObject({ status: 0, err: '' })
    expect(host.state()).toEqual(before)
  })

  test('share what an interrupted installation has left: it is told once', async () => {
    const { host, folder } = await withUnits()
    mkdirSync(folder, { recursive: true })
    const name = '.linkwright-01234567-89ab-cdef-0123-456789abcdef'
    writeFileSync(join(folder, name), 'half')
    const { out } = await host.install('--systemd', '--systemd-dir', folder)
    expect(out.split('\n').filter((line) => line.includes('interrupted'))).toEqual([
      `remove ${folder}/${name}, which an interrupted installation left`,
    ])
  })

  test('that somebody else has started are not stopped', async () => {
    const { host, folder, program, told } = await withUnits()
    mkdirSync(folder, { recursive: true })
    await host.install('--systemd', '--systemd-dir', folder)
    writeFileSync(program, readFileSync(program, 'utf8').replace('is-*) exit 3 ;;', 'is-*) exit 0 ;;'))
    await host.installBy({ systemd: { folder, start: true }, systemctl: program })
    await uninstallBy(host, program)
    expect(told().filter((line) => !line.startsWith('is-'))).toEqual([])
  })

  test('are enabled and started with --start, and stopped before they go', async () => {
    const { host, folder, program, told } = await withUnits()
    const systemd = { folder, start: true }
    await host.installBy({ systemd, systemctl: program })
    expect(told()).toEqual([
      'daemon-reload',
      'enable --now linkwright.socket linkwright.service',
      'try-restart linkwright.service',
    ])
    const { steps, failures } = await uninstallBy(host, program)
    expect(failures).toEqual([])
    expect(told().slice(3)).toEqual(['disable --now linkwright.socket linkwright.service', 'daemon-reload'])
    const texts = steps.map(({ text }) => text)
    expect(texts[0]).toBe('run systemctl disable --now linkwright.socket linkwright.service')
    expect(texts.indexOf('run systemctl daemon-reload')).toBeGreaterThan(
      texts.indexOf(`remove ${folder}/linkwright.service`),
    )
  })

  test('that run and are the same are left alone', async () => {
    const { host, folder, program, told } = await withUnits()
    await host.installBy({ systemd: { folder, start: true }, systemctl: program })
    const before = told().length
    writeFileSync(program, '#!/bin/sh\nexit 0\n')
    const { steps } = await host.installBy({ systemd: { folder, start: true }, systemctl: program })
    expect(steps).toEqual([])
    expect(told()).toHaveLength(before)
  })

  test('that do not start are taken back with everything else', async () => {
    const { host, folder, program, told } = await withUnits('enable*) echo masked >&2; exit 1 ;;')
    const before = host.state()
    await expect(
      host.installBy({ systemd: { folder, start: true }, systemctl: program }),
    ).rejects.toMatchObject({
      message: 'systemctl enable --now linkwright.socket linkwright.service: exit status 1',
      details: 'masked',
    })
    expect(host.state()).toEqual(before)
    expect(told().slice(-2)).toEqual(['disable --now linkwright.socket linkwright.service', 'daemon-reload'])
  })

  test('that ran before run on when a new version can not be started', async () => {
    const { host, folder, program, told } = await withUnits()
    await host.installBy({ systemd: { folder, start: true }, systemctl: program })
    const before = host.state()
    const used = host.current()
    const count = told().length
    const unit = join(host.build, 'systemd/linkwright.service')
    writeFileSync(unit, `${readFileSync(unit, 'utf8')}# another\n`)
    const failing = readFileSync(program, 'utf8').replace(
      'is-*)',
      'try-restart*) test -e "$0.once" || { touch "$0.once"; exit 1; } ;;\nis-*)',
    )
    writeFileSync(program, failing)
    await expect(host.installBy({ systemd: { folder, start: true }, systemctl: program })).rejects.toThrow(
      'systemctl try-restart linkwright.service: exit status 1',
    )
    expect(host.state()).toEqual(before)
    expect(host.current()).toBe(used)
    expect(told().slice(count)).toEqual([
      'daemon-reload',
      'enable --now linkwright.socket linkwright.service',
      'try-restart linkwright.service',
      'daemon-reload',
      'try-restart linkwright.socket linkwright.service',
    ])
  })

  test('without systemd are there, and it is told that nothing was started', async () => {
    const { host, folder, program, told } = await withUnits()
    const { notes } = await host.installBy({ systemd: { folder, start: true }, systemctl: null })
    expect(notes.map(({ text }) => text)).toEqual(['systemd does not run here: nothing was started'])
    expect(readdirSync(folder)).toHaveLength(4)
    // Nor will anything be stopped.
    await uninstallBy(host, program)
    expect(told()).toEqual([])
  })

  test('can not name every path', async () => {
    const { host, folder } = await withUnits()
    const { status, err } = await host.install(
      '--systemd',
      '--systemd-dir',
      folder,
      '--bin-dir',
      '/opt/a b%n',
    )
    expect(status).toBe(1)
    expect(err).toContain("/opt/a b%n can't be named in a unit")
  })

  test('change only where something is executed', () => {
    const text =
      '# /opt/cni/bin/dhcp\nExecStart=-/opt/cni/bin/dhcp daemon -x /opt/cni/bin/y\nReadWritePaths=/opt/cni/bin\n'
    expect(unitText(text, { command: '/c', binDir: '/b' })).toBe(
      '# /opt/cni/bin/dhcp\nExecStart=-/b/dhcp daemon -x /b/y\nReadWritePaths=/opt/cni/bin\n',
    )
  })

  test('of the lease keeper are started where there is no daemon that keeps leases', () => {
    expect(toStart(['linkwright-dhcp.service', 'linkwright-dhcp.socket'])).toEqual(['linkwright-dhcp.socket'])
  })
})
