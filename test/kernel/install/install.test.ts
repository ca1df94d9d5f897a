import { execFileSync } from 'node:child_process'
import {
  chmodSync,
  chownSync,
  cpSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  unlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'
import { machine, makeBuild, rebuild } from './stand-in.ts'

const version = (path: string): string =>
  execFileSync(path, { env: { CNI_COMMAND: 'VERSION', LINKWRIGHT_SOCKET: '-' }, encoding: 'utf8' })

describe('a first installation', () => {
  test('makes the folders, and every plugin answers', async () => {
    const host = await machine({ command: true })
    const { status, out, err } = await host.install()
    expect({ status, err }).toEqual({ status: 0, err: '' })
    expect(readdirSync(host.binDir)).toEqual(['bridge', 'host-local', 'ptp'])
    for (const type of readdirSync(host.binDir)) {
      expect(readlinkSync(join(host.binDir, type))).toBe(join(host.lib, 'current/bin', type))
      expect(JSON.parse(version(join(host.binDir, type)))).toMatchObject({ cniVersion: '1.1.0' })
    }
    expect(host.current()).toMatch(/^0\.1\.0-[0-9a-f]{12}$/)
    expect(out).toContain(`${host.current()}: 3 plugins in ${host.binDir}\n`)
    expect(execFileSync(join(host.prefix, 'bin/linkwright'), { encoding: 'utf8' })).toBe('linkwright 0.1.0\n')
    expect(statSync(join(host.lib, host.current())).mode & 0o7777).toBe(0o755)
    expect(statSync(join(host.lib, 'installed.json')).mode & 0o7777).toBe(0o644)
  })

  test('whatever the umask is', async () => {
    const host = await machine()
    const umask = process.umask(0o077)
    try {
      expect((await host.install()).status).toBe(0)
    } finally {
      process.umask(umask)
    }
    for (const path of [host.binDir, host.lib, join(host.lib, host.current())])
      expect(statSync(path).mode & 0o7777).toBe(0o755)
    expect(statSync(join(host.lib, host.current(), 'linkwright-cni')).mode & 0o7777).toBe(0o755)
  })

  test('once more: nothing is to do', async () => {
    const host = await machine()
    await host.install()
    const before = host.state()
    const { status, out } = await host.install()
    expect(status).toBe(0)
    expect(out).toBe(`${host.current()}: 3 plugins in ${host.binDir}; nothing is to do\n`)
    expect(host.state()).toEqual(before)
  })

  test('--json tells what was done, as programs read it', async () => {
    const host = await machine()
    const first = JSON.parse((await host.install('--json')).out)
    expect(first).toMatchObject({ types: ['bridge', 'host-local', 'ptp'], dryRun: false, changed: true })
    const actions = first.steps.map(({ action }: { action: string }) => action)
    // Asked before anything leads there.
    expect(actions.filter((one: string, i: number) => actions[i - 1] !== one)).toEqual([
      'mkdir',
      'copy',
      'verify',
      'record',
      'switch',
      'place',
    ])
    const second = JSON.parse((await host.install('--json')).out)
    expect(second).toMatchObject({ version: first.version, changed: false, steps: [], notes: [] })
  })

  test('--dry-run tells the same and changes nothing', async () => {
    const host = await machine()
    host.putForeign('bridge')
    const before = host.state()
    const planned = JSON.parse((await host.install('--dry-run', '--json')).out)
    expect(host.state()).toEqual(before)
    const done = JSON.parse((await host.install('--json')).out)
    expect(planned).toEqual({ ...done, dryRun: true })
  })

  test('--types: only those; the others stay as they are', async () => {
    const host = await machine()
    host.putForeign('ptp')
    expect((await host.install('--types', 'bridge,host-local')).status).toBe(0)
    expect(readdirSync(host.binDir)).toEqual(['bridge', 'host-local', 'ptp'])
    expect(readFileSync(join(host.binDir, 'ptp'), 'utf8')).toBe('foreign ptp')
  })

  test('--copy: nothing outside of the folder of plugins, and all of it can be mounted elsewhere', async () => {
    const host = await machine()
    host.putForeign('ptp', 'old')
    const before = host.state()
    const where = ['--bin-dir', host.binDir, '--copy', '--whole-node']
    expect(await host.call('install', ...where, '--from', host.build)).toMatchObject({ status: 0, err: '' })
    expect(existsSync(host.prefix)).toBe(false)
    const elsewhere = join(host.root, 'elsewhere')
    renameSync(host.binDir, elsewhere)
    expect(JSON.parse(version(join(elsewhere, 'ptp')))).toMatchObject({ cniVersion: '1.1.0' })
    renameSync(elsewhere, host.binDir)
    expect(await host.call('uninstall', ...where)).toMatchObject({ status: 0, err: '' })
    expect(host.state()).toEqual(before)
  })
})

describe('what was there before', () => {
  test('is kept with mode, owner and date, and put back', async () => {
    const host = await machine()
    const bridge = host.putForeign('bridge', 'the bridge of somebody', 0o750)
    chownSync(bridge, 1001, 127)
    chmodSync(bridge, 0o4750)
    const other = join(host.root, 'build/ptp')
    symlinkSync(other, join(host.binDir, 'ptp'))
    writeFileSync(other, 'the ptp of somebody')
    const { ino, mtimeMs } = statSync(bridge)
    const before = host.state()
    expect((await host.install()).status).toBe(0)
    expect(lstatSync(bridge).isSymbolicLink()).toBe(true)
    expect(readFileSync(join(host.lib, 'replaced/bridge'), 'utf8')).toBe('the bridge of somebody')
    const { status, out } = await host.uninstall()
    expect(status).toBe(0)
    expect(host.state()).toEqual(before)
    const { ino: inoAfter, mtimeMs: mtimeAfter, gid } = statSync(bridge)
    expect({ ino: inoAfter, mtimeMs: mtimeAfter, gid }).toEqual({ ino, mtimeMs, gid: 127 })
    expect(out).toContain(`put the link to ${other} back at ${join(host.binDir, 'ptp')}\n`)
  })

  test('stays where somebody has put another thing there since, and that is told', async () => {
    const host = await machine()
    host.putForeign('bridge', 'old')
    host.putForeign('ptp', 'old ptp')
    await host.install()
    host.putForeign('bridge', 'new')
    unlinkSync(join(host.binDir, 'ptp'))
    const { status, out } = await host.uninstall()
    expect(status).toBe(0)
    expect(readdirSync(host.binDir)).toEqual(['bridge'])
    expect(readFileSync(join(host.binDir, 'bridge'), 'utf8')).toBe('new')
    const kept = join(host.lib, 'replaced')
    expect(out).toContain(
      `note: ${host.binDir}/bridge is left as it is: somebody has put something else there since; what was there before is kept in ${kept}/bridge\n`,
    )
    expect(out).toContain(`note: ${host.binDir}/ptp is left as it is: somebody has removed it`)
    expect(readFileSync(join(kept, 'bridge'), 'utf8')).toBe('old')
    // Installing anew does not throw away what is still there for its owner.
    await host.install()
    expect(readFileSync(join(kept, 'ptp'), 'utf8')).toBe('old ptp')
  })

  test('is the newest, where a package manager has written over ours between two installations', async () => {
    const host = await machine()
    host.putForeign('bridge', 'old')
    await host.install()
    host.putForeign('bridge', 'new')
    await host.install()
    expect(readdirSync(join(host.lib, 'replaced'))).toEqual(['bridge.2'])
    await host.uninstall()
    expect(readFileSync(join(host.binDir, 'bridge'), 'utf8')).toBe('new')
    expect(existsSync(host.prefix)).toBe(false)
  })

  test('can not be put back when it was changed where it was kept', async () => {
    const host = await machine()
    host.putForeign('bridge', 'old')
    await host.install()
    writeFileSync(join(host.lib, 'replaced/bridge'), 'evil')
    const { status, out } = await host.uninstall()
    expect(status).toBe(0)
    expect(out).toContain('replaced/bridge, which was at')
    expect(existsSync(join(host.binDir, 'bridge'))).toBe(false)
  })

  test('uninstalling leaves nothing, and once more there is nothing to do', async () => {
    const host = await machine({ command: true })
    const before = host.state()
    await host.install()
    const { status, out } = await host.uninstall('--dry-run')
    expect(status).toBe(0)
    expect(existsSync(join(host.binDir, 'bridge'))).toBe(true)
    expect((await host.uninstall()).out).toBe(out)
    expect(host.state()).toEqual(before)
    expect(await host.uninstall()).toEqual({
      status: 0,
      out: `nothing is installed below ${host.prefix}\n`,
      err: '',
    })
  })

  test('folders that have something else in them stay', async () => {
    const host = await machine()
    await host.install()
    host.putForeign('calico')
    await host.uninstall()
    expect(host.state('opt')).toEqual({
      'opt/cni': 'folder',
      'opt/cni/bin': 'folder',
      'opt/cni/bin/calico': expect.stringContaining('755 0 '),
    })
  })
})

describe('another version', () => {
  test('is switched to; the one before stays, older ones go', async () => {
    const host = await machine()
    host.putForeign('bridge', 'old')
    await host.install()
    const first = host.current()
    await rebuild(host, { version: '0.2.0' })
    const { out } = await host.install()
    const second = host.current()
    expect(second).toMatch(/^0\.2\.0-/)
    expect(out).toContain(`switch ${host.lib}/current from ${first} to ${second}\n`)
    // The names lead there already.
    expect(out).not.toContain('link ')
    expect(out).toContain('note: a daemon that runs is of the version before')
    expect(existsSync(join(host.lib, first))).toBe(true)
    await rebuild(host, { version: '0.3.0' })
    // Where processes of others can't be seen, only what is long unused goes.
    utimesSync(join(host.lib, first), new Date(0), new Date(0))
    await host.install()
    expect(existsSync(join(host.lib, first))).toBe(false)
    expect(existsSync(join(host.lib, second))).toBe(true)
    for (const name of [second, host.current()]) utimesSync(join(host.lib, name), new Date(0), new Date(0))
    await host.uninstall()
    expect(readdirSync(host.binDir)).toEqual(['bridge'])
    expect(existsSync(host.prefix)).toBe(false)
  })

  test('takes back the names that it has no plugin for', async () => {
    const host = await machine()
    host.putForeign('ptp', 'old ptp')
    await host.install()
    await rebuild(host, { version: '0.2.0', types: ['bridge', 'vlan'] })
    expect((await host.install()).status).toBe(0)
    expect(readdirSync(host.binDir)).toEqual(['bridge', 'ptp', 'vlan'])
    expect(readFileSync(join(host.binDir, 'ptp'), 'utf8')).toBe('old ptp')
    expect((await host.install()).out).toContain('nothing is to do')
    await host.uninstall()
    expect(readdirSync(host.binDir)).toEqual(['ptp'])
  })

  test('keeps what it can not put back there', async () => {
    const host = await machine()
    host.putForeign('ptp', 'old ptp')
    await host.install()
    host.putForeign('ptp', 'newer')
    await rebuild(host, { version: '0.2.0', types: ['bridge', 'vlan'] })
    const { out } = await host.install()
    expect(out).toContain(`what was there before is kept in ${host.lib}/replaced/ptp\n`)
    expect(readFileSync(join(host.lib, 'replaced/ptp'), 'utf8')).toBe('old ptp')
  })

  test('of the same build is made anew where a file was changed', async () => {
    const host = await machine()
    await host.install()
    const first = host.current()
    writeFileSync(join(host.lib, first, 'linkwright-cni'), '#!/bin/sh\nexit 1\n')
    expect((await host.install()).status).toBe(0)
    expect(host.current()).toBe(`${first}-2`)
    expect(JSON.parse(version(join(host.binDir, 'ptp')))).toMatchObject({ cniVersion: '1.1.0' })
    expect((await host.install()).out).toContain('nothing is to do')
  })

  test('puts names back that were removed, and what an interrupted installation left away', async () => {
    const host = await machine()
    await host.install()
    unlinkSync(join(host.binDir, 'bridge'))
    const name = '.linkwright-01234567-89ab-cdef-0123-456789abcdef'
    writeFileSync(join(host.binDir, name), 'half')
    mkdirSync(join(host.lib, name))
    writeFileSync(join(host.lib, name, 'linkwright-cni'), 'half')
    expect((await host.install()).status).toBe(0)
    expect(readdirSync(host.binDir)).toEqual(['bridge', 'host-local', 'ptp'])
    expect(existsSync(join(host.lib, name))).toBe(false)
  })
})

test('what this build has made can be installed, also from where it was installed to', async () => {
  const host = await machine()
  const dist = fileURLToPath(new URL('../../../dist/cni', import.meta.url))
  const { where } = host
  expect(await host.call('install', ...where, '--from', dist)).toMatchObject({ status: 0, err: '' })
  expect(readdirSync(host.binDir)).toEqual(readdirSync(join(dist, 'bin')).sort())
  expect(JSON.parse(version(join(host.binDir, 'bridge')))).toMatchObject({ cniVersion: '1.1.0' })
  const command = join(host.prefix, 'bin/linkwright')
  const out = execFileSync(command, ['install', ...where], { encoding: 'utf8' })
  expect(out).toContain('; nothing is to do\n')
  // What it executes is not in use by others.
  execFileSync(command, ['uninstall', ...where])
  expect(existsSync(host.prefix)).toBe(false)
})

describe('without a manifest', () => {
  test('an uninstaller finds what is ours, and puts back what was kept', async () => {
    const host = await machine({ command: true })
    host.putForeign('bridge')
    host.putForeign('calico')
    const before = host.state()
    await host.install()
    unlinkSync(join(host.lib, 'installed.json'))
    expect(await host.uninstall()).toMatchObject({ status: 0, err: '' })
    expect(host.state()).toEqual(before)
  })

  test('it does so where the whole prefix is gone', async () => {
    const host = await machine({ command: true })
    host.putForeign('calico')
    const before = host.state()
    await host.install()
    rmSync(host.prefix, { recursive: true })
    const { status, out } = await host.uninstall()
    expect(status).toBe(0)
    expect(out).toContain(`remove ${host.binDir}/bridge\n`)
    expect(host.state()).toEqual(before)
  })

  test('it does not choose among what was kept, but tells', async () => {
    const host = await machine()
    host.putForeign('bridge')
    await host.install()
    unlinkSync(join(host.lib, 'installed.json'))
    const kept = join(host.lib, 'replaced')
    writeFileSync(join(kept, 'bridge.2'), 'another')
    const { status, out } = await host.uninstall()
    expect(status).toBe(0)
    expect(readdirSync(host.binDir)).toEqual([])
    for (const name of ['bridge', 'bridge.2'])
      expect(out).toContain(
        `note: ${kept}/${name} stays: it was kept once, and nothing tells where it belongs`,
      )
    expect(readdirSync(kept)).toEqual(['bridge', 'bridge.2'])
  })

  test('an installer goes on where the one before has ended', async () => {
    const host = await machine({ command: true })
    host.putForeign('bridge')
    const before = host.state()
    await host.install()
    unlinkSync(join(host.lib, 'installed.json'))
    expect((await host.install()).status).toBe(0)
    expect((await host.install()).out).toContain('nothing is to do')
    await host.uninstall()
    expect(host.state()).toEqual(before)
  })
})

test('what nobody asks for any more is told, and no change', async () => {
  const host = await machine()
  host.putForeign('bridge', 'old')
  await host.install()
  host.putForeign('bridge', 'new')
  await host.uninstall()
  const before = host.state()
  const kept = join(host.lib, 'replaced/bridge')
  expect(JSON.parse((await host.uninstall('--json')).out)).toMatchObject({
    changed: false,
    steps: [],
    notes: [{ path: kept }],
  })
  expect(host.state()).toEqual(before)
})

test('of two installations for one folder, neither brings back links to the other one when that is gone', async () => {
  const host = await machine()
  mkdirSync(host.binDir, { recursive: true })
  const before = host.state()
  const where = ['--bin-dir', host.binDir, '--prefix', join(host.root, 'other'), '--whole-node']
  await host.install()
  expect((await host.call('install', ...where, '--from', host.build)).status).toBe(0)
  expect((await host.uninstall()).status).toBe(0)
  const { status, out } = await host.call('uninstall', ...where)
  expect(status).toBe(0)
  expect(out).toMatch(/note: the link to \S*current\/bin\/bridge, which was at \S*, leads to nothing/)
  expect(host.state()).toEqual(before)
})

describe('what somebody has written through the name of a plugin, as cp does', () => {
  const written = async () => {
    const host = await machine()
    host.putForeign('ptp', 'old')
    await host.install()
    const foreign = join(host.root, 'build/foreign')
    writeFileSync(foreign, '#!/bin/sh\necho I am flannel\n', { mode: 0o755 })
    execFileSync('cp', ['-f', foreign, join(host.binDir, 'ptp')])
    return { host, foreign }
  }

  test('has changed no other', async () => {
    const { host } = await written()
    expect(version(join(host.binDir, 'ptp'))).toBe('I am flannel\n')
    for (const type of ['bridge', 'host-local'])
      expect(JSON.parse(version(join(host.binDir, type)))).toMatchObject({ cniVersion: '1.1.0' })
  })

  test('stays when ours go', async () => {
    const { host } = await written()
    const { status, out } = await host.uninstall()
    expect(status).toBe(0)
    expect(out).toContain(
      `note: ${host.binDir}/ptp stays: somebody has written something else there since; what was there before is kept in ${host.lib}/replaced/ptp\n`,
    )
    expect(readdirSync(host.binDir)).toEqual(['ptp'])
    expect(version(join(host.binDir, 'ptp'))).toBe('I am flannel\n')
  })

  test('is kept when ours are installed once more, and comes back', async () => {
    const { host } = await written()
    expect((await host.install()).status).toBe(0)
    expect(JSON.parse(version(join(host.binDir, 'ptp')))).toMatchObject({ cniVersion: '1.1.0' })
    expect((await host.install()).out).toContain('nothing is to do')
    await host.uninstall()
    expect(lstatSync(join(host.binDir, 'ptp')).isFile()).toBe(true)
    expect(version(join(host.binDir, 'ptp'))).toBe('I am flannel\n')
    expect(existsSync(host.prefix)).toBe(false)
  })
})

test('what the build has beside the programs goes along, and nothing else', async () => {
  const host = await machine()
  writeFileSync(join(host.build, 'LICENSE'), 'free')
  for (const name of ['README.md', 'linkwright-cni.4711', 'x.tar.xz', '.hidden'])
    writeFileSync(join(host.build, name), 'no')
  await host.install()
  expect(readdirSync(join(host.lib, host.current()))).toEqual([
    'LICENSE',
    'bin',
    'linkwright-cni',
    'linkwright-launcher',
  ])
})

test('of a package for several processors, what this one needs goes along', async () => {
  const host = await machine()
  const { arch } = process
  const launcher = join(host.build, 'linkwright-launcher')
  cpSync(launcher, `${launcher}.linux-s390x`)
  renameSync(launcher, `${launcher}.linux-${arch}`)
  for (const name of [`linux-${arch}.glibc`, `linux-${arch}.musl`, 'linux-s390x.glibc'])
    writeFileSync(join(host.build, `linkwright.${name}.node`), '')
  await host.install()
  expect(readdirSync(join(host.lib, host.current()))).toEqual([
    'bin',
    'linkwright-cni',
    'linkwright-launcher',
    `linkwright.linux-${arch}.glibc.node`,
    `linkwright.linux-${arch}.musl.node`,
  ])
})

test('the same content from another folder is the same version', async () => {
  const host = await machine()
  await host.install()
  const other = join(host.root, 'other')
  await makeBuild(other)
  expect((await host.install('--from', other)).out).toContain('nothing is to do')
  rmSync(other, { recursive: true })
})
