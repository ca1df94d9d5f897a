/** Disks that are full or read-only, installers that are killed, that fail half way, or that meet. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  chmodSync,
  constants,
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, onTestFinished, test } from 'vitest'
import { binding } from '../../../native/binding.ts'
import { type Finished, run } from '../../support/program.ts'
import { type PrivateHost, privateHost } from '../../support/space.ts'
import { eventually } from '../../support/wait.ts'
import { type BuildOptions, Machine, machine, makeBuild, rebuild } from './stand-in.ts'

const linkwright = fileURLToPath(new URL('../../../dist/cli/linkwright.cjs', import.meta.url))

describe('a file system', () => {
  /** A host whose disk is a tmpfs with `options`; builds are on another one. */
  class Host {
    readonly space: PrivateHost
    readonly inside = new Machine('/run/disk')
    /** The same, seen from here. */
    readonly outside: Machine

    constructor(space: PrivateHost) {
      this.space = space
      this.outside = new Machine(space.file('/run/disk'))
    }

    async remount(options: string): Promise<void> {
      await this.space.must('mount', ['-o', `remount,${options}`, '/run/disk'])
    }

    build(name: string, options?: BuildOptions): Promise<void> {
      return makeBuild(this.space.file(`/run/${name}`), options)
    }

    run(command: string, ...args: string[]): Promise<Finished> {
      return this.space.run(process.execPath, [linkwright, command, ...this.inside.where, ...args])
    }

    /** Refused, without a trace. */
    async refused(words: RegExp): Promise<void> {
      const before = this.outside.state()
      const { status, stderr } = await this.run('install', '--from', '/run/build')
      expect(stderr).toMatch(words)
      expect(status).toBe(1)
      expect(this.outside.state()).toEqual(before)
    }
  }

  const host = async (options: string): Promise<Host> => {
    const space = await privateHost()
    await space.must('mkdir', ['/run/disk'])
    await space.must('mount', ['-t', 'tmpfs', '-o', `mode=755,${options}`, 'tmpfs', '/run/disk'])
    return new Host(space)
  }

  test('that is read-only', async () => {
    const it = await host('size=8m')
    await it.build('build')
    await it.remount('ro')
    await it.refused(/EROFS.*\n {2}the file system is read-only: choose another folder/)
    await it.remount('rw')
    expect(await it.run('install', '--from', '/run/build')).toMatchObject({ status: 0, stderr: '' })
    await it.remount('ro')
    const { status, stderr } = await it.run('uninstall')
    expect(status).toBe(1)
    expect(stderr).toMatch(/EROFS/)
    expect(readdirSync(it.outside.binDir)).toEqual(['bridge', 'host-local', 'ptp'])
    await it.remount('rw')
    expect((await it.run('uninstall')).status).toBe(0)
    expect(it.outside.state()).toEqual({})
  })

  test('without room: told before anything is copied', async () => {
    const it = await host('size=4m')
    await it.build('build', { ballast: 6 << 20 })
    await it.refused(/has \d+ KiB free, and \d+ KiB are needed\n {2}make room/)
  })

  test('that is full half way: nothing is half', async () => {
    // Room for all bytes, but not for all names.
    const it = await host('size=16m,nr_inodes=12')
    await it.build('build', { ballast: 1 << 20 })
    it.outside.putForeign('bridge')
    await it.refused(/copying to .*ENOSPC.*\n {2}the file system is full/)
  })

  test('that does not count its room is no full one', async () => {
    const space = await privateHost()
    await space.must('mkdir', ['/run/disk'])
    await space.must('mount', ['-t', 'ramfs', '-o', 'mode=755', 'ramfs', '/run/disk'])
    const it = new Host(space)
    await it.build('build')
    expect(await it.run('install', '--from', '/run/build')).toMatchObject({ status: 0, stderr: '' })
  })
})

const straceOf = (calls: string, fault: string): string[] => [
  ...['-qq', '-o', '/dev/null', '-e', `trace=${calls}`, '-e', `inject=${calls}:${fault}`],
  ...[process.execPath, linkwright],
]

/** Installs in a process of its own, which fails, or is killed, at one of the names that it gives. */
const strained = (host: Machine, fault: string, ...args: string[]): Promise<Finished> => {
  const strace = straceOf('?rename,?renameat,?renameat2', fault)
  return run('strace', [...strace, 'install', ...host.where, '--from', host.build, ...args])
}

/** Uninstalls likewise, with a fault at one of the names that it removes. */
const strainedUninstall = (host: Machine, fault: string): Promise<Finished> =>
  run('strace', [...straceOf('?unlink,?unlinkat', fault), 'uninstall', ...host.where])

/** The version, the manifest, what is kept, the switch, three plugins. */
const renames = [1, 2, 3, 4, 5, 6, 7]

/** A configuration in the build's folder, which is no part of a machine's state. */
const confIn = (host: Machine, mtu: number): string => {
  const file = join(host.build, '10-x.conflist')
  const plugins = [{ type: 'bridge', mtu, ipam: {} }]
  writeFileSync(file, JSON.stringify({ cniVersion: '1.0.0', name: 'x', plugins }))
  return file
}

describe('an installer', () => {
  test.each(renames)('that fails at name %i undoes everything', async (n) => {
    const host = await machine()
    host.putForeign('bridge')
    const before = host.state()
    const { status, stderr } = await strained(host, `error=EIO:when=${n}`)
    expect(stderr).toContain('EIO')
    expect(status).toBe(1)
    expect(host.state()).toEqual(before)
  })

  test.each(renames)(
    'that is killed at name %i leaves every plugin whole, and the next one makes good',
    async (n) => {
      const host = await machine()
      host.putForeign('bridge')
      const before = host.state()
      const { status, signal } = await strained(host, `signal=SIGKILL:when=${n}`)
      expect(status === 137 || signal === 'SIGKILL').toBe(true)
      const bridge = join(host.binDir, 'bridge')
      const isOurs = existsSync(join(bridge, '..')) && readFileSync(bridge, 'utf8') !== 'foreign bridge'
      // The link and what it leads to are there together.
      if (isOurs) expect(readlinkSync(bridge)).toContain('current/bin/bridge')
      expect((await host.install()).status).toBe(0)
      expect((await host.install()).out).toContain('nothing is to do')
      for (const name of readdirSync(host.lib)) expect(name).not.toMatch(/^\.linkwright/)
      await host.uninstall()
      expect(host.state()).toEqual(before)
    },
  )

  /** Those, the command line, a unit, a configuration. */
  test.each([...renames, 8, 9, 10])(
    'that is killed at name %i leaves nothing behind once uninstalled',
    async (n) => {
      const host = await machine({ command: true, units: { 'linkwright.service': '[Service]\n' } })
      host.putForeign('bridge')
      const [unitDir, confDir] = [join(host.root, 'etc/systemd'), join(host.root, 'etc/net.d')]
      for (const folder of [unitDir, confDir]) mkdirSync(folder, { recursive: true })
      const before = host.state()
      const conf = confIn(host, 1400)
      const args = ['--systemd', '--systemd-dir', unitDir, '--conf', conf, '--conf-dir', confDir]
      const { status, signal } = await strained(host, `signal=SIGKILL:when=${n}`, ...args)
      expect(status === 137 || signal === 'SIGKILL').toBe(true)
      expect(await host.uninstall()).toMatchObject({ status: 0, err: '' })
      expect(host.state()).toEqual(before)
    },
  )

  test.each(['uninstalled', 'installed anew'])(
    'that is killed while it writes over what is ours takes nothing from its owner: %s',
    async (next) => {
      const host = await machine()
      const confDir = join(host.root, 'etc/net.d')
      mkdirSync(confDir, { recursive: true })
      writeFileSync(join(confDir, '10-x.conflist'), 'theirs')
      const before = host.state()
      const args = ['--conf', confIn(host, 1400), '--conf-dir', confDir]
      expect((await host.install(...args)).status).toBe(0)
      confIn(host, 1500)
      // The manifest, the configuration.
      await strained(host, 'signal=SIGKILL:when=2', ...args)
      expect(readFileSync(join(confDir, '10-x.conflist'), 'utf8')).toContain('1400')
      if (next === 'installed anew') {
        expect((await host.install(...args)).status).toBe(0)
        expect(readFileSync(join(confDir, '10-x.conflist'), 'utf8')).toContain('1500')
        expect((await host.install(...args)).out).toContain('nothing is to do')
      }
      expect(await host.uninstall()).toMatchObject({ status: 0, err: '' })
      expect(host.state()).toEqual(before)
    },
  )

  test.each<[string, number[]]>([
    ['uninstalled', []],
    ['installed anew', [1400]],
    ['with another one in its place', [1500]],
    ['installed anew, with another one in its place then', [1400, 1500]],
  ])(
    'that is killed before it has kept what was there already leaves that there: %s',
    async (_next, mtus) => {
      const host = await machine()
      const confDir = join(host.root, 'etc/net.d')
      mkdirSync(confDir, { recursive: true })
      mkdirSync(host.binDir, { recursive: true })
      const conf = confIn(host, 1400)
      copyFileSync(conf, join(confDir, '10-x.conflist'))
      chmodSync(join(confDir, '10-x.conflist'), 0o600)
      const before = host.state()
      const args = ['--conf', conf, '--conf-dir', confDir]
      // The version, the manifest, what is kept.
      await strained(host, 'signal=SIGKILL:when=3', ...args)
      for (const mtu of mtus) {
        confIn(host, mtu)
        expect((await host.install(...args)).status).toBe(0)
      }
      expect(await host.uninstall()).toMatchObject({ status: 0, err: '' })
      expect(host.state()).toEqual(before)
    },
  )

  test('that can not remove a name, without a manifest, leaves what it leads to', async () => {
    const host = await machine()
    host.putForeign('ptp')
    const before = host.state()
    await host.install()
    rmSync(join(host.lib, 'installed.json'))
    const { status, stderr } = await strainedUninstall(host, 'error=EIO:when=1')
    expect(stderr).toMatch(/^linkwright: restoring .*bridge: EIO/)
    expect(status).toBe(1)
    expect(readFileSync(join(host.binDir, 'bridge'), 'latin1')).toContain('ELF')
    expect(await host.uninstall()).toMatchObject({ status: 0, err: '' })
    expect(host.state()).toEqual(before)
  })

  test('that can not undo what it has done tells so', async () => {
    const host = await machine()
    await host.install()
    host.putForeign('bridge')
    await rebuild(host, { version: '0.2.0' })
    // The version, the manifest, what is kept and the switch have been done; neither bridge nor the way back can be.
    const { status, stderr } = await strained(host, 'error=EIO:when=5+')
    expect(status).toBe(1)
    expect(stderr).toMatch(/^linkwright: placing .*bridge: EIO/)
    expect(stderr).toMatch(
      /what could not be undone: switch .*current back to 0\.1\.0-.*installed\.json back/,
    )
    // What is there is whole, and the next one makes good.
    expect(readFileSync(join(host.binDir, 'bridge'), 'utf8')).toBe('foreign bridge')
    expect((await host.install()).status).toBe(0)
    await host.uninstall()
    expect(readFileSync(join(host.binDir, 'bridge'), 'utf8')).toBe('foreign bridge')
  })

  test('that is told to stop undoes everything', async () => {
    const host = await machine({ instead: { ptp: 'sleep 60' } })
    host.putForeign('bridge')
    const before = host.state()
    const controller = new AbortController()
    const { signal } = controller
    const work = host.installBy({ signal })
    const versions = () => existsSync(host.lib) && readdirSync(host.lib).some((name) => /^\d/.test(name))
    while (!versions()) await new Promise((resolve) => setImmediate(resolve))
    controller.abort(new Error('stopped by SIGTERM'))
    await expect(work).rejects.toThrow('stopped by SIGTERM')
    expect(host.state()).toEqual(before)
  })

  test('that is told to stop while it waits for another one leaves nothing', async () => {
    const host = await machine()
    mkdirSync(host.lib, { recursive: true })
    const before = host.state()
    const other = binding().open(host.lib, constants.O_RDONLY | constants.O_DIRECTORY, 0)
    onTestFinished(() => other.close())
    expect(binding().tryFlock(other, 2)).toBe(true)
    const controller = new AbortController()
    const work = host.installBy({ signal: controller.signal })
    work.catch(() => {})
    await eventually('it waits', () => existsSync(host.binDir))
    controller.abort(new Error('stopped by SIGINT'))
    await expect(work).rejects.toThrow('stopped by SIGINT')
    expect(host.state()).toEqual(before)
  })

  test('waits for another one; both are content', async () => {
    const host = await machine()
    host.putForeign('bridge')
    const before = host.state()
    const other = join(host.root, 'build/other')
    await makeBuild(other, { version: '0.2.0', types: ['bridge', 'vlan'] })
    const outcomes = await Promise.all([
      host.installBy({}),
      host.installBy({ from: other }),
      host.installBy({}),
      host.installBy({ from: other }),
    ])
    const names = new Set(outcomes.map(({ name }) => name))
    expect(names.size).toBe(2)
    expect(names).toContain(host.current())
    for (const name of names) utimesSync(join(host.lib, name), new Date(0), new Date(0))
    await host.uninstall()
    expect(host.state()).toEqual(before)
  })
})

test('plugins can be executed at every moment while versions change', async () => {
  const host = await machine()
  await host.install()
  const ended = new AbortController()
  onTestFinished(() => ended.abort())
  let calls = 0
  const call = async (type: string): Promise<void> => {
    while (!ended.signal.aborted) {
      const { status, stdout } = await run(join(host.binDir, type), [], {
        env: { CNI_COMMAND: 'VERSION', LINKWRIGHT_SOCKET: '-' },
      })
      expect({ status, stdout }).toEqual({ status: 0, stdout: expect.stringContaining('1.1.0') })
      calls++
    }
  }
  const callers = Promise.all([call('bridge'), call('ptp')])
  callers.catch(() => {})
  for (const version of ['0.2.0', '0.3.0', '0.4.0']) {
    await rebuild(host, { version })
    expect((await host.install()).status).toBe(0)
  }
  ended.abort()
  await callers
  expect(calls).toBeGreaterThan(3)
})

test('a version that somebody runs stays until that has ended', async () => {
  const host = await machine()
  await host.install()
  const first = host.current()
  const held = spawn(join(host.binDir, 'ptp'), [], { env: { CNI_COMMAND: 'HOLD' }, stdio: 'pipe' })
  const gone = once(held, 'close')
  onTestFinished(() => void held.kill('SIGKILL'))
  await once(held.stdout, 'data')
  for (const version of ['0.2.0', '0.3.0']) {
    await rebuild(host, { version })
    await host.install()
  }
  expect(readdirSync(host.lib).filter((name) => /^\d/.test(name))).toHaveLength(3)
  const { out } = await host.uninstall()
  expect(out).toMatch(new RegExp(`note: .*/${first} is used by process`))
  expect(existsSync(join(host.lib, first, 'linkwright-cni'))).toBe(true)
  held.stdin.end('\n')
  await gone
  for (const name of readdirSync(host.lib).filter((name) => /^\d/.test(name)))
    utimesSync(join(host.lib, name), new Date(0), new Date(0))
  await host.uninstall()
  expect(existsSync(host.prefix)).toBe(false)
})
