/** What can't be installed: the reason is told, and everything is as it was before. */
import {
  chmodSync,
  chownSync,
  cpSync,
  existsSync,
  lchownSync,
  mkdirSync,
  readdirSync,
  renameSync,
  rmSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'
import { type Machine, machine, makeBuild, type Said } from './stand-in.ts'

/** Refused, with these words, and without a trace. */
const refused = async (host: Machine, words: string | RegExp, ...args: string[]): Promise<Said> => {
  const before = host.state()
  const said = await host.install(...args)
  expect(said.err).toMatch(words)
  expect(said.status).toBe(1)
  expect(host.state()).toEqual(before)
  return said
}

describe('a plugin that does not work here', () => {
  test.each<[string, string, RegExp]>([
    [
      'fails',
      'echo no such luck >&2; exit 3',
      /ptp does not work here: exit status 3 .*\n {2}it says: no such luck/,
    ],
    ['is killed', 'kill -9 $$', /ptp does not work here: SIGKILL/],
    ['says nothing', 'true', /ptp answers VERSION wrongly: no JSON: ""/],
    ['says something else', 'echo []', /answers VERSION wrongly: no JSON object/],
    ['has no version', `echo '{"supportedVersions":[]}'`, /cniVersion is no text/],
    ['speaks none', `echo '{"cniVersion":"1.1.0"}'`, /supportedVersions is no list/],
    ['is too old', `echo '{"cniVersion":"0.4.0","supportedVersions":["0.4.0"]}'`, /1\.1\.0 is not supported/],
    ['talks and talks', 'yes', /ptp can't be executed .*wrote more than 65536 bytes/],
  ])('because it %s', async (_what, ptp, words) => {
    const host = await machine({ instead: { ptp } })
    host.putForeign('bridge')
    await refused(host, words)
  })

  test('leaves the version in use that is there', async () => {
    const host = await machine()
    await host.install()
    const used = host.current()
    rmSync(host.build, { recursive: true })
    await makeBuild(host.build, { version: '0.2.0', instead: { bridge: 'exit 1' } })
    await refused(host, /bridge does not work here/)
    expect(host.current()).toBe(used)
  })

  test('because its addon can not be loaded, though it answers VERSION', async () => {
    const host = await machine()
    const dist = fileURLToPath(new URL('../../../dist/cni', import.meta.url))
    rmSync(host.build, { recursive: true })
    cpSync(dist, host.build, { recursive: true, verbatimSymlinks: true })
    for (const name of readdirSync(host.build).filter((name) => name.endsWith('.node')))
      unlinkSync(join(host.build, name))
    await refused(
      host,
      /loopback can answer VERSION, and nothing else\n {2}it says: .*addon could not be loaded/s,
    )
  })

  test('is told as JSON, too', async () => {
    const host = await machine({ instead: { ptp: 'exit 1' } })
    const { out } = await refused(host, /ptp/, '--json')
    expect(JSON.parse(out)).toEqual({
      error: { message: expect.stringContaining('ptp does not work here'), details: 'it says nothing' },
    })
  })
})

describe('a build', () => {
  test.each<[string, (host: Machine) => void, RegExp]>([
    ['that is not there', ({ build }) => rmSync(build, { recursive: true }), /holds no linkwright-launcher/],
    [
      'without a launcher',
      ({ build }) => unlinkSync(join(build, 'linkwright-launcher')),
      /no linkwright-launcher/,
    ],
    [
      'for other processors',
      ({ build }) =>
        renameSync(join(build, 'linkwright-launcher'), join(build, 'linkwright-launcher.linux-s390x')),
      /holds no linkwright-launcher for \w+\n/,
    ],
    [
      'without a program',
      ({ build }) => unlinkSync(join(build, 'linkwright-cni')),
      /holds no linkwright-cni\n/,
    ],
    ['without plugins', ({ build }) => rmSync(join(build, 'bin'), { recursive: true }), /ENOENT/],
    [
      'whose programs are no executables',
      ({ build }) => chmodSync(join(build, 'linkwright-launcher'), 0o644),
      /bridge can't be executed .*EACCES/,
    ],
    [
      'that does not tell its version',
      ({ build }) => writeFileSync(join(build, 'linkwright-cni'), '#!/bin/sh\necho ../../etc\n'),
      /bridge does not tell its version\n {2}it says: \.\.\/\.\.\/etc/,
    ],
  ])('%s', async (_what, spoil, words) => {
    const host = await machine()
    spoil(host)
    await refused(host, words)
  })

  test('that has no such plugin', async () => {
    const host = await machine()
    await refused(
      host,
      /there is no plugin "macvlan"\n {2}there are bridge, host-local, ptp/,
      '--types',
      'macvlan',
    )
  })

  test('without units', async () => {
    const host = await machine()
    await refused(host, /has no units/, '--systemd', '--systemd-dir', join(host.root, 'units'))
  })
})

describe('a place', () => {
  test.each<[string, (host: Machine) => void, RegExp]>([
    [
      'a folder where a plugin goes',
      ({ binDir }) => mkdirSync(join(binDir, 'ptp')),
      /ptp is a folder\n {2}move it away/,
    ],
    ['links in a circle', ({ binDir }) => loop(binDir), /ELOOP.*\n {2}its symbolic links lead in a circle/],
    ['a link to nowhere', ({ binDir }) => dangle(binDir), /ENOENT/],
    ['a file in the place of the folder', ({ binDir }) => put(binDir), /bin is no folder/],
    ['a file on the way', ({ root }) => writeFileSync(join(root, 'opt/linkwright'), ''), /ENOTDIR/],
    [
      'a folder that everybody may write to',
      ({ binDir }) => chmodSync(binDir, 0o777),
      /can be written by everybody/,
    ],
    [
      'one above it',
      ({ root }) => chmodSync(join(root, 'opt/cni'), 0o757),
      /opt\/cni can be written by everybody/,
    ],
    ['a folder of somebody else', ({ binDir }) => chownSync(binDir, 1001, 0), /belongs to user 1001/],
    [
      'a folder that a group may write to',
      ({ binDir }) => give(binDir, 0, 100, 0o775),
      /opt\/cni\/bin can be written by group 100/,
    ],
    [
      'a link to what is in a folder of somebody else',
      ({ root, binDir }) => lead(binDir, join(root, 'home/alice'), join(root, 'home/alice/bin')),
      /home\/alice belongs to user 1001/,
    ],
    [
      'a link that leads through a folder of somebody else',
      ({ root, binDir }) => lead(binDir, join(root, 'home/alice'), `${root}/home/alice/../../bin`),
      /home\/alice belongs to user 1001/,
    ],
    [
      'a link of somebody else',
      ({ root, binDir }) => {
        lead(binDir, join(root, 'home'), join(root, 'bin'))
        give(join(root, 'home'), 0, 0, 0o755)
        lchownSync(binDir, 1001, 0)
      },
      /opt\/cni\/bin belongs to user 1001/,
    ],
  ])('%s', async (_what, spoil, words) => {
    const host = await machine()
    mkdirSync(host.binDir, { recursive: true })
    spoil(host)
    await refused(host, words)
  })

  const loop = (path: string): void => {
    rmSync(path, { recursive: true })
    symlinkSync(path, path)
  }
  const give = (path: string, uid: number, gid: number, mode: number): void => {
    chownSync(path, uid, gid)
    chmodSync(path, mode)
  }
  /** A link at `path` to `target`, a folder of root's; `between` is a folder of somebody else. */
  const lead = (path: string, between: string, target: string): void => {
    rmSync(path, { recursive: true })
    mkdirSync(between, { recursive: true })
    mkdirSync(target, { recursive: true })
    chownSync(between, 1001, 0)
    symlinkSync(target, path)
  }
  const dangle = (path: string): void => {
    rmSync(path, { recursive: true })
    symlinkSync('/nowhere/at/all', path)
  }
  const put = (path: string): void => {
    rmSync(path, { recursive: true })
    writeFileSync(path, '')
  }

  test.each<[string, string, RegExp]>([
    ['no JSON', '{', /installed\.json is not what an installer wrote: .*JSON/],
    [
      'of another format',
      '{"format":2,"entries":[],"folders":[],"started":[]}',
      /installed\.json is not .*format/,
    ],
    [
      'that leads elsewhere',
      '{"format":1,"entries":[{"path":"/a","role":"plugin","made":{"kind":"link","target":"x"},"replaced":{"kind":"file","name":"../../etc/shadow","mode":0,"uid":0,"gid":0,"sha256":""}}],"folders":[],"started":[]}',
      /installed\.json is not what an installer wrote: entries\.0\.replaced/,
    ],
    ['that is too long', ' '.repeat(2 << 20), /it is too long/],
  ])('a manifest: %s', async (_what, text, words) => {
    const host = await machine()
    await host.install()
    writeFileSync(join(host.lib, 'installed.json'), text)
    await refused(host, words)
    const { status, err } = await host.uninstall()
    expect(status).toBe(1)
    expect(err).toMatch(words)
  })

  test('a link to a version that no installer wrote', async () => {
    const host = await machine()
    await host.install()
    unlinkSync(join(host.lib, 'current'))
    symlinkSync('../../../etc', join(host.lib, 'current'))
    await refused(host, /which no installer wrote/)
  })
})

test.each<[string, (host: Machine) => string]>([
  [
    'below a folder of somebody else',
    ({ root }) => {
      mkdirSync(join(root, 'home/alice'), { recursive: true })
      chownSync(join(root, 'home/alice'), 1001, 0)
      return join(root, 'home/alice/a/b')
    },
  ],
  [
    'below a file',
    ({ root }) => {
      writeFileSync(join(root, 'file'), '')
      return join(root, 'file/a')
    },
  ],
])('a dry run refuses what the installation would: a folder %s', async (_what, spoil) => {
  const host = await machine()
  const prefix = spoil(host)
  const { err } = await refused(host, /alice belongs to user 1001|ENOTDIR/, '--prefix', prefix)
  expect((await refused(host, '', '--prefix', prefix, '--dry-run')).err).toBe(err)
})

test('a dry run takes what the installation would: a folder to be made where everybody may make some', async () => {
  const host = await machine()
  mkdirSync(join(host.root, 'tmp'))
  chmodSync(join(host.root, 'tmp'), 0o1777)
  const prefix = join(host.root, 'tmp/a')
  expect(await host.install('--prefix', prefix, '--dry-run')).toMatchObject({ status: 0, err: '' })
  expect(await host.install('--prefix', prefix)).toMatchObject({ status: 0, err: '' })
})

test('without root it says so, and still tells what it would do', async () => {
  const host = await machine()
  chmodSync(host.root, 0o755)
  process.seteuid!(65_534)
  try {
    expect(await host.install()).toEqual({
      status: 1,
      out: '',
      err: 'linkwright: this needs root\n  run it with sudo, or see what it would do with --dry-run\n',
    })
    expect((await host.install('--dry-run')).status).toBe(0)
    expect((await host.uninstall()).err).toContain('this needs root')
  } finally {
    process.seteuid!(0)
  }
  expect((await host.install()).status).toBe(0)
  process.seteuid!(65_534)
  try {
    for (const command of ['install', 'uninstall'] as const)
      expect(await host[command]('--dry-run')).toMatchObject({ status: 0, err: '' })
  } finally {
    process.seteuid!(0)
  }
  chmodSync(host.lib, 0o700)
  process.seteuid!(65_534)
  try {
    expect((await host.install('--dry-run')).err).toMatch(/EACCES.*\n {2}run it as root\n/)
  } finally {
    process.seteuid!(0)
  }
})

test.each([
  [['--types', 'bridge,../x'], '"../x" is no plugin\'s type'],
  [['--types', ''], '"" is no plugin\'s type'],
  [['--copy'], '--copy and --prefix exclude each other'],
  [['--start'], '--start needs --systemd'],
  [['--systemd-dir', '/x'], '--systemd-dir needs --systemd'],
  [['--conf-dir', '/x'], '--conf-dir needs --conf'],
  [['--from', ''], '--from: no folder'],
  [['--nope'], '--nope'],
  [['stray'], 'too many arguments: stray'],
])('wrong arguments: %j', async (args, words) => {
  const host = await machine()
  const { status, err } = await host.install(...args)
  expect(status).toBe(2)
  expect(err).toContain(words)
  expect(existsSync(join(host.root, 'opt'))).toBe(false)
})
