/** What is read of files and executables. */
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it, onTestFinished } from 'vitest'
import { lookAtCache } from '../../../../cli/commands/doctor/facts/attachments.ts'
import { lookAtBinaries } from '../../../../cli/commands/doctor/facts/binaries.ts'
import { lookAtConfDir } from '../../../../cli/commands/doctor/facts/conf-dir.ts'
import { isGoProgram } from '../../../../cli/commands/doctor/facts/elf.ts'
import { changesOnce, lookAtInstallation } from '../../../../cli/commands/doctor/facts/installation.ts'
import { readModules } from '../../../../cli/commands/doctor/facts/modules.ts'
import { winnerOf } from '../../../../cli/commands/install/conf.ts'
import { readSource } from '../../../../cli/commands/install/source.ts'
import { changesIn } from '../../../../cli/commands/install/versions.ts'
import { writeCache } from '../../../../cni/cache.ts'
import { plugins } from '../../../../plugins/index.ts'
import { must } from '../../../support/program.ts'

const folder = (): string => {
  const path = mkdtempSync(join(tmpdir(), 'doctor-'))
  onTestFinished(() => rmSync(path, { recursive: true, force: true }))
  return path
}
const script = (path: string, text: string, mode = 0o755): void => {
  writeFileSync(path, `#!/bin/sh\n${text}\n`)
  chmodSync(path, mode)
}

const lookAt = async (directories: readonly string[], types: readonly string[]) => {
  const found = await lookAtBinaries(types, {
    directories,
    changesIn: changesOnce(),
    socket: '/nowhere',
    timeout: 1000,
    signal: new AbortController().signal,
  })
  return new Map(found.map((one) => [one.type, one]))
}

it('finds executables as a runtime does, and asks each within a deadline', async () => {
  const [first, second] = [folder(), folder()]
  const versions = `echo '{"supportedVersions":["1.0.0"]}'`
  script(join(first, 'good'), `[ -z "$SECRET" ] && [ "$CNI_COMMAND" = VERSION ] && ${versions}`)
  script(join(first, 'slow'), 'sleep 60')
  script(join(first, 'angry'), 'echo no >&2; exit 3')
  script(join(first, 'strange'), 'echo "[]"')
  script(join(first, 'open'), versions, 0o777)
  script(join(first, 'plain'), versions, 0o644)
  symlinkSync('/nowhere', join(first, 'dangling'))
  symlinkSync('/nowhere', join(first, 'twice'))
  script(join(second, 'twice'), versions)
  mkdirSync(join(first, 'folder'))
  script(
    join(first, 'linkwright-cni'),
    `[ "$1" = --version ] && echo "CNI ours plugin v1.2.3" || ${versions}`,
  )
  symlinkSync('linkwright-cni', join(first, 'ours'))
  script(join(first, 'linkwright-launcher'), versions)
  symlinkSync('linkwright-launcher', join(first, 'launched'))
  const types = ['good', 'slow', 'angry', 'strange', 'open', 'plain', 'dangling', 'twice', 'folder', 'ours']
  const by = await lookAt([first, second], [...types, 'launched', 'absent', '../good', '..'])
  const answers = { supported: ['1.0.0'] }
  expect(by.get('good')).toMatchObject({ file: { state: 'there', maker: 'other' }, version: answers })
  expect(by.get('slow')?.version).toEqual({ failed: expect.stringContaining('1000 ms') })
  expect(by.get('angry')?.version).toEqual({ failed: 'exit status 3: no' })
  expect(by.get('strange')?.version).toEqual({ failed: expect.stringContaining('supportedVersions') })
  expect(by.get('open')).toMatchObject({
    file: { changeable: `${join(first, 'open')} can be written by everybody` },
    version: null,
  })
  expect(by.get('plain')?.file.state).toBe('not-executable')
  expect(by.get('dangling')?.file.state).toBe('dangling')
  expect(by.get('twice')).toMatchObject({ file: { path: join(second, 'twice') }, version: answers })
  expect(by.get('folder')?.file.state).toBe('not-a-file')
  expect(by.get('ours')).toMatchObject({ file: { maker: 'linkwright' }, release: '1.2.3', standalone: null })
  expect(by.get('launched')?.standalone).toEqual({ path: join(first, 'linkwright-cni'), usable: true })
  for (const type of ['absent', '../good', '..']) expect(by.get(type)?.file.state).toBe('missing')
})

it('looks on where a directory is none', async () => {
  const directory = folder()
  const file = join(directory, 'file')
  writeFileSync(file, '')
  symlinkSync('circle', join(directory, 'circle'))
  script(join(directory, 'good'), `echo '{"supportedVersions":["1.0.0"]}'`)
  const others = [file, join(file, 'below'), join(directory, 'circle'), join(directory, 'nothing')]
  const by = await lookAt([...others, directory], ['good', 'absent'])
  expect(by.get('good')).toMatchObject({ file: { state: 'there' }, version: { supported: ['1.0.0'] } })
  expect(by.get('absent')?.file).toEqual({ state: 'missing' })
})

it('executes nothing that lies where others can put something', async () => {
  const directory = folder()
  const trace = join(folder(), 'trace')
  const at = (name: string): string => join(directory, name)
  for (const name of ['open', 'shared', 'theirs', 'links']) mkdirSync(at(name))
  for (const name of ['open', 'shared', 'theirs']) script(join(at(name), 'plugin'), `touch ${trace}`)
  chmodSync(at('open'), 0o1777)
  chownSync(at('shared'), 0, 100)
  chmodSync(at('shared'), 0o775)
  chownSync(at('theirs'), 1001, 0)
  for (const name of ['open', 'shared', 'theirs']) symlinkSync(`../${name}/plugin`, join(at('links'), name))
  for (const [name, why] of [
    ['open', 'can be written by everybody'],
    ['shared', 'can be written by group 100'],
    ['theirs', 'belongs to user 1001'],
  ] as const)
    for (const [found, type] of [
      [at(name), 'plugin'],
      [at('links'), name],
    ] as const)
      expect((await lookAt([found], [type])).get(type)).toMatchObject({
        file: { state: 'there', changeable: `${at(name)} ${why}` },
        version: null,
      })
  expect(existsSync(trace)).toBe(false)
})

it('does not tell of root what only this process may not do', async () => {
  const directory = folder()
  chmodSync(directory, 0o755)
  mkdirSync(join(directory, 'bin'))
  script(join(directory, 'bin/plain'), '', 0o640)
  mkdirSync(join(directory, 'secret'))
  script(join(directory, 'secret/hidden'), '')
  chmodSync(join(directory, 'secret'), 0o700)
  // From here: what is above may be closed to others, where TMPDIR says so.
  const before = process.cwd()
  process.chdir(directory)
  process.seteuid!(65_534)
  try {
    const by = await lookAt(['bin', 'secret'], ['plain', 'hidden'])
    expect(by.get('hidden')?.file).toMatchObject({ state: 'unseen', why: expect.stringContaining('EACCES') })
    expect(by.get('plain')?.file).toMatchObject({ state: 'not-executable' })
  } finally {
    process.seteuid!(0)
    process.chdir(before)
  }
})

describe('a version that somebody has written to', () => {
  /** What a folder of links is named after, of these contents. */
  const OF_LINKS = '85a28cbf6924'
  const version = (layout: 'links' | 'copies') => {
    const lib = folder()
    const draft = join(lib, 'draft')
    mkdirSync(join(draft, 'bin'), { recursive: true })
    const launcher = `echo '{"supportedVersions":["1.0.0"]}'`
    script(join(draft, 'linkwright-launcher'), launcher)
    script(join(draft, 'linkwright-cni'), '[ "$1" = --version ] && echo "CNI a plugin v1.2.3"')
    for (const type of ['flannel', 'ptp'])
      if (layout === 'links') symlinkSync('../linkwright-launcher', join(draft, 'bin', type))
      else script(join(draft, 'bin', type), launcher)
    const current = join(lib, `1.2.3-${layout === 'links' ? OF_LINKS : readSource(draft).hash}-2`)
    renameSync(draft, current)
    const binDir = folder()
    for (const type of ['flannel', 'ptp']) symlinkSync(join(current, 'bin', type), join(binDir, type))
    return { current, binDir }
  }

  it.each(['links', 'copies'] as const)('is whole, as %s', async (layout) => {
    const { current, binDir } = version(layout)
    expect(changesIn(current)).toEqual({ version: false, types: [] })
    for (const [, one] of await lookAt([binDir], ['flannel', 'ptp']))
      expect(one).toMatchObject({
        file: { maker: 'linkwright', home: current, changed: null },
        version: { supported: ['1.0.0'] },
        standalone: { path: join(current, 'linkwright-cni'), usable: true },
      })
    expect(changesIn(binDir)).toBeNull()
  })

  it('through a link to the launcher of all', async () => {
    const { current, binDir } = version('links')
    writeFileSync(join(binDir, 'flannel'), '#!/bin/sh\necho flannel\n')
    expect(changesIn(current)).toMatchObject({ version: true })
    for (const [, one] of await lookAt([binDir], ['flannel', 'ptp']))
      expect(one).toMatchObject({ file: { maker: 'other', changed: current }, version: null })
  })

  it('through a link to a copy, which is of one plugin', async () => {
    const { current, binDir } = version('copies')
    writeFileSync(join(binDir, 'flannel'), '#!/bin/sh\necho flannel\n')
    expect(changesIn(current)).toEqual({ version: false, types: ['flannel'] })
    const by = await lookAt([binDir], ['flannel', 'ptp'])
    const changed = join(current, 'bin/flannel')
    expect(by.get('flannel')).toMatchObject({ file: { maker: 'other', changed }, version: null })
    expect(by.get('ptp')).toMatchObject({ file: { maker: 'linkwright', changed: null } })
  })

  it.each([
    ['a program is another', (at: string) => writeFileSync(join(at, 'linkwright-cni'), '#!/bin/sh\n')],
    ['a program is gone', (at: string) => rmSync(join(at, 'linkwright-cni'))],
    ['a plugin is gone', (at: string) => rmSync(join(at, 'bin/ptp'))],
    [
      'a plugin leads nowhere',
      (at: string) => {
        rmSync(join(at, 'bin/ptp'))
        symlinkSync('nowhere', join(at, 'bin/ptp'))
      },
    ],
  ])('%s', (_what, change) => {
    for (const layout of ['links', 'copies'] as const) {
      const { current } = version(layout)
      change(current)
      expect(changesIn(current)).toMatchObject({ version: true })
    }
  })
})

it('tells programs of Go by their sections', () => {
  const path = join(folder(), 'program')
  /** An ELF64 file of one section, that of the names. */
  const elf = (names: string): Buffer => {
    const bytes = Buffer.alloc(64 + 64 + names.length)
    bytes.write('\x7fELF\x02\x01', 'latin1')
    bytes.writeBigUInt64LE(64n, 40)
    bytes.writeUInt16LE(64, 58)
    bytes.writeUInt16LE(1, 60)
    bytes.writeBigUInt64LE(128n, 64 + 24)
    bytes.writeBigUInt64LE(BigInt(names.length), 64 + 32)
    bytes.write(names, 128, 'latin1')
    return bytes
  }
  const isGo = (bytes: Buffer | string): boolean => {
    writeFileSync(path, bytes)
    return isGoProgram(path)
  }
  expect(isGo(elf('\0.text\0.go.buildinfo\0'))).toBe(true)
  expect(isGo(elf('\0.text\0.data\0'))).toBe(false)
  expect(isGo(elf('\0.go.buildinfo\0').subarray(0, 100))).toBe(false)
  expect(isGo('#!/bin/sh\n')).toBe(false)
  expect(isGo('')).toBe(false)
  const far = elf('\0.go.buildinfo\0')
  far.writeBigUInt64LE(0xffff_ffff_ffff_ffffn, 40)
  expect(isGo(far)).toBe(false)
  const vast = elf('\0.go.buildinfo\0')
  vast.writeBigUInt64LE(1n << 40n, 64 + 32)
  expect(isGo(vast)).toBe(false)
  expect(isGoProgram(process.execPath)).toBe(false)
})

it('reads no configuration that would stop it', async () => {
  const directory = folder()
  await must('mkfifo', [join(directory, '10-fifo.conf')])
  writeFileSync(join(directory, '20-large.conf'), 'x'.repeat((1 << 20) + 1))
  symlinkSync('/nowhere', join(directory, '30-gone.conf'))
  mkdirSync(join(directory, 'more'))
  await must('mkfifo', [join(directory, 'more', '10.conf')])
  writeFileSync(
    join(directory, '40-more.conflist'),
    '{"cniVersion":"1.0.0","name":"more","plugins":[{"type":"ptp"}]}',
  )
  mkdirSync(join(directory, '50-folder.conf'))
  writeFileSync(join(directory, '60.conflist.bak'), '{')
  const { files } = lookAtConfDir(directory, plugins)
  expect(files.map(({ file, problem }) => [file, problem?.msg])).toEqual([
    ['10-fifo.conf', expect.stringContaining('is not a file')],
    ['20-large.conf', expect.stringContaining('has more than')],
    ['30-gone.conf', expect.stringContaining('ENOENT')],
    ['40-more.conflist', expect.stringContaining('is not a file')],
  ])
  const none = { files: [], more: 0 }
  for (const [name, isNoFolder] of [
    ['nothing', false],
    ['60.conflist.bak', true],
    ['60.conflist.bak/below', true],
  ] as const)
    expect(lookAtConfDir(join(directory, name), plugins)).toMatchObject({ ...none, isNoFolder })
})

it('takes configurations in the order of runtimes: by bytes, and by what Go calls an extension', () => {
  const directory = folder()
  // In UTF-16, which JavaScript compares, the last one comes before the one that is before it.
  const names = [
    '.conflist',
    '10-a.conf',
    '10-a.conflist',
    'B.json',
    'a.json',
    '\uff5e.conf',
    '\u{1f600}.conf',
  ]
  for (const name of [...names].reverse().concat('conf', 'a.conf.bak', 'a.b/'))
    if (name.endsWith('/')) mkdirSync(join(directory, name))
    else
      writeFileSync(join(directory, name), '{"cniVersion":"1.0.0","name":"net","plugins":[{"type":"ptp"}]}')
  const { files } = lookAtConfDir(directory, plugins)
  expect(files.map(({ file }) => file)).toEqual(names)
  expect(files[0]).toMatchObject({ misnamed: false, network: { name: 'net' } })
  expect(winnerOf(names)).toBe('.conflist')
})

it('knows attachments of results in any version, and their namespaces', () => {
  const cacheDir = folder()
  expect(lookAtCache(cacheDir)).toBeNull()
  const entry = {
    network: 'net',
    ifName: 'eth0',
    config: '{}',
    args: '',
    capabilityArgs: {},
  } as const
  const add = (containerId: string, netnsPath: string, result: Record<string, never> | object) =>
    writeCache(cacheDir, { ...entry, containerId, netnsPath, result: result as never })
  add('a', '/proc/self/ns/net', { ips: [{ address: '10.0.0.2/24' }, { address: 'fd00::2/64' }] })
  add('b', '/nowhere', { ip4: { ip: '10.0.0.3/24' } })
  add('c', '', {})
  // A plain file that a reboot left.
  add('d', join(cacheDir, 'results', 'net-a-eth0'), {})
  // As libcni kept it before 1.3; the result tells where it is.
  const interfaces = [
    { name: 'host0', sandbox: '' },
    { name: 'host1' },
    null,
    { name: 'eth0', sandbox: '/proc/self/ns/net' },
  ]
  add('e', '', { interfaces })
  writeFileSync(join(cacheDir, 'results', 'broken'), '{')
  const found = lookAtCache(cacheDir)
  expect(found?.unreadable).toEqual([{ path: join(cacheDir, 'results', 'broken'), why: 'it holds no JSON' }])
  expect(
    found?.attachments.map(({ containerId, namespace, families }) => [containerId, namespace, families]),
  ).toEqual([
    ['a', 'there', [4, 6]],
    ['b', 'gone', [4]],
    ['c', 'unknown', []],
    ['d', 'gone', []],
    ['e', 'there', []],
  ])
})

it('sees whether an installation is whole', () => {
  const prefix = folder()
  expect(lookAtInstallation(prefix, '/bin', changesOnce())).toBeNull()
  const lib = join(prefix, 'lib/linkwright')
  mkdirSync(join(lib, '1.0.0-x'), { recursive: true })
  expect(lookAtInstallation(prefix, '/bin', changesOnce())).toEqual({
    lib,
    current: null,
    launcher: false,
    standalone: false,
    changes: null,
  })
  symlinkSync('1.0.0-x', join(lib, 'current'))
  script(join(lib, 'current', 'linkwright-launcher'), '')
  expect(lookAtInstallation(prefix, '/bin', changesOnce())).toEqual({
    lib,
    current: join(lib, '1.0.0-x'),
    launcher: true,
    standalone: false,
    changes: null,
  })
})

it('knows no modules of a kernel that is not here', () => {
  expect(readModules('0.0.0-nobody', ['no_such_module'])).toEqual({
    known: false,
    states: { no_such_module: 'none' },
  })
})
