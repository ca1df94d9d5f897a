/** The npm package, as somebody gets it who installs it into an empty project. */
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { must, plainEnv, run } from '../support/program.ts'
import { privateHost } from '../support/space.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))
/** Made by whoever runs the tests where these have no network; see scripts/testing/package.mjs. */
const made = process.env.LINKWRIGHT_TEST_PACKAGE
const folder = made ?? mkdtempSync(join(tmpdir(), 'linkwright-package-'))
const project = join(folder, 'project')
const installed = join(project, 'node_modules/linkwright')
const tool = (name: string): string => join(root, 'node_modules/.bin', name)
const entries = ['linkwright', ...['netlink', 'cni', 'ipam', 'plugins'].map((name) => `linkwright/${name}`)]

const environment = Object.fromEntries(
  Object.entries(process.env).filter((entry): entry is [string, string] => entry[1] !== undefined),
)
let tarball: string
let files: string[]

/** Runs a script of the project. */
const script = (text: string) => run(process.execPath, ['--input-type=module', '-e', text], { cwd: project })

beforeAll(async () => {
  if (made === undefined)
    await must(process.execPath, [join(root, 'scripts/testing/package.mjs'), folder], {
      env: environment,
      timeout: 600_000,
    })
  const packed = JSON.parse(readFileSync(join(folder, 'pack.json'), 'utf8')) as {
    filename: string
    files: { path: string }[]
  }
  tarball = join(folder, packed.filename)
  files = packed.files.map(({ path }) => path)
}, 600_000)
afterAll(() => {
  if (made === undefined) rmSync(folder, { recursive: true, force: true })
})

describe('the tarball', () => {
  test('holds the programs, the library, documents, and nothing else', () => {
    const wanted =
      /^(?:dist\/lib\/.*\.(?:js|js\.map|d\.ts)|dist\/cli\/linkwright\.(?:cjs|script\.js)|dist\/cni\/(?:package\.json|linkwright-cni(?:\.script\.js)?|linkwright-launcher\.linux-(?:x64|arm64)|linkwright\.linux-(?:x64|arm64)\.(?:glibc|musl)\.node|bin\/[a-z-]+)|deploy\/systemd\/linkwright[a-z-]*\.(?:service|socket)|docs\/.*\.md|examples\/.*|README\.md|LICENSE|package\.json)$/
    expect(files.filter((path) => !wanted.test(path))).toEqual([])
    expect(files.filter((path) => path.endsWith('.node'))).toHaveLength(4)
    expect(files).toEqual(expect.arrayContaining(['LICENSE', 'README.md', 'dist/cni/bin/bridge']))
  })

  test('has source maps that need no sources', async () => {
    const map = JSON.parse(await must('cat', [join(installed, 'dist/lib/cni/chain.js.map')])) as {
      sourcesContent?: string[]
    }
    expect(map.sourcesContent?.[0]).toContain('runChain')
  })

  test('leaves dist/ as it was', () => {
    expect(existsSync(join(root, 'dist/.fingerprint'))).toBe(true)
    expect(existsSync(join(root, 'build/unpacked'))).toBe(false)
    const inPlace = readdirSync(join(root, 'dist/cni'))
    expect(inPlace.filter((name) => name.includes('.linux-'))).toEqual([])
    expect(inPlace).toContain('linkwright-launcher')
  })

  test('has nothing of the machine that made it, and no script that runs when it is installed', async () => {
    expect((await run('grep', ['-rlF', root, installed])).stdout).toBe('')
    const manifest = JSON.parse(await must('cat', [join(installed, 'package.json')])) as {
      gypfile: boolean
      scripts: Record<string, string>
    }
    expect(manifest.gypfile).toBe(false)
    for (const name of ['preinstall', 'install', 'postinstall', 'prepare'])
      expect(manifest.scripts).not.toHaveProperty(name)
  })
})

describe.each(['x64', 'arm64'])('addons for %s', (arch) => {
  const addon = (libc: string): string => join(installed, `dist/cni/linkwright.linux-${arch}.${libc}.node`)
  const symbols = async (path: string): Promise<string[]> =>
    (await must('readelf', ['-W', '--dyn-syms', path])).split('\n').filter((line) => /^ +\d+:/.test(line))
  const processor = arch === 'x64' ? 'X86-64' : 'AArch64'

  test('glibc: 2.28 is enough, and no C++ library is needed', async () => {
    const path = addon('glibc')
    expect(await must('readelf', ['-h', path])).toContain(processor)
    const needed = (await must('readelf', ['-d', path])).match(/(?<=Shared library: \[)[^\]]+/g)
    expect(needed?.filter((name) => !/^lib(?:c|m|pthread|dl)\.so/.test(name))).toEqual([])
    const versions = (await must('readelf', ['-V', path])).match(/(?<=GLIBC_)2\.\d+/g) ?? []
    expect(versions.length).toBeGreaterThan(0)
    expect(versions.map((version) => Number(version.slice(2))).filter((minor) => minor > 28)).toEqual([])
    const open = (await symbols(path)).filter((line) => / UND \S/.test(line) && !/@GLIBC_2\./.test(line))
    expect(open.filter((line) => !/ UND (?:napi|node_api)_/.test(line))).toEqual([])
  })

  test('musl: nothing but musl, and no symbol of C++', async () => {
    const path = addon('musl')
    expect(await must('readelf', ['-h', path])).toContain(processor)
    const needed = (await must('readelf', ['-d', path])).match(/(?<=Shared library: \[)[^\]]+/g)
    expect(needed).toEqual(['libc.so'])
    expect((await symbols(path)).filter((line) => / UND (?:_Z|__cxa|__gxx|\S*_chk)/.test(line))).toEqual([])
  })

  test.each(['glibc', 'musl'])('%s: exports the entry points of Node-API alone', async (libc) => {
    const names = (await symbols(addon(libc)))
      .filter((line) => / (?:GLOBAL|WEAK) /.test(line) && !/ UND /.test(line))
      .map((line) => line.trim().split(/\s+/)[7])
    expect(names.sort()).toEqual(['napi_register_module_v1', 'node_api_module_get_api_version_v1'])
  })
})

const emulator = '/usr/bin/qemu-aarch64-static'

/** What runs programs of a processor here; null where they can't be run. */
const runnerFor = (arch: string): readonly string[] | null => {
  if (arch === process.arch) return []
  return arch === 'arm64' && existsSync(emulator) ? [emulator] : null
}

test.each(['x64', 'arm64'])(
  'the launcher for %s needs nothing, and finds the standalone program',
  async (arch) => {
    const path = join(installed, `dist/cni/linkwright-launcher.linux-${arch}`)
    expect(statSync(path).mode & 0o777).toBe(0o755)
    expect(statSync(path).size).toBeLessThan(100_000)
    expect(await must('readelf', ['-h', path])).toContain(arch === 'x64' ? 'X86-64' : 'AArch64')
    expect(await must('readelf', ['-d', path])).not.toContain('NEEDED')
    const segments = await must('readelf', ['-lW', path])
    expect(segments).not.toContain('INTERP')
    expect(segments).toMatch(/GNU_STACK .* RW /)
    const runner = runnerFor(arch)
    if (runner === null) return
    // Not called by the name of a plugin, it takes the first argument.
    const [file, ...args] = [...runner, path, 'bridge']
    // A socket's path is absolute: no daemon can be meant.
    const env = { ...plainEnv, CNI_COMMAND: 'VERSION', LINKWRIGHT_SOCKET: '-' }
    const answer = JSON.parse(await must(file!, args, { env })) as Record<string, unknown>
    expect(answer).toMatchObject({ supportedVersions: expect.arrayContaining(['1.1.0']) })
  },
)

describe('the library', () => {
  test.each(entries)('%s can be imported', async (entry) => {
    const { stdout, stderr } = await script(`console.log(Object.keys(await import('${entry}')).length > 2)`)
    expect(stderr).toBe('')
    expect(stdout).toBe('true\n')
  })

  test('makes a veth between namespaces of its own: an example, as it is documented', async () => {
    const example = await must('cat', [join(installed, 'examples/two-hosts.mjs')])
    const { stdout, stderr } = await script(example)
    expect(stderr).toBe('')
    expect(stdout).toContain("name: 'east'")
    expect(stdout).toContain('10.0.0.1/24')
  })

  test('imports on other systems, and says there what is wrong when a socket is opened', async () => {
    const { stdout } = await script(`
      Object.defineProperty(process, 'platform', { value: 'darwin' })
      const { netlink } = await import('linkwright')
      try { netlink.Netns.create() } catch (error) { console.log(error.code, error.message) }`)
    expect(stdout).toMatch(/^ERR_UNSUPPORTED_PLATFORM .*Linux only.*darwin/)
  })

  test('says where it has looked when there is no addon for the processor', async () => {
    const { stdout } = await script(`
      Object.defineProperty(process, 'arch', { value: 'riscv64' })
      const { netlink } = await import('linkwright')
      try { netlink.Netns.create() } catch (error) { console.log(error.code, error.message) }`)
    expect(stdout).toMatch(/^ERR_ADDON_UNAVAILABLE /)
    expect(stdout).toContain('linkwright.linux-riscv64.glibc.node: not there')
    expect(stdout).toContain('npm run build')
  })

  test.each([
    ['node16', 'node16'],
    ['nodenext', 'nodenext'],
    ['bundler', 'esnext'],
  ])('its types are found under moduleResolution %s', async (resolution, module) => {
    const lines = entries.map(
      (entry, i) => `import * as e${i} from '${entry}'\nexport const k${i}: object = e${i}\n`,
    )
    const wrong = `import { plugins } from 'linkwright/plugins'\nexport const w: number = plugins\n`
    writeFileSync(join(project, 'right.ts'), lines.join(''))
    writeFileSync(join(project, 'wrong.ts'), wrong)
    const check = (file: string) =>
      run(
        tool('tsc'),
        [
          ...['--noEmit', '--strict', '--target', 'es2023', '--lib', 'es2023,esnext.disposable'],
          ...['--typeRoots', join(root, 'node_modules/@types'), '--types', 'node'],
          ...['--moduleResolution', resolution, '--module', module, file],
        ],
        { cwd: project },
      )
    expect(await check('right.ts')).toMatchObject({ stdout: '', status: 0 })
    expect((await check('wrong.ts')).stdout).toMatch(/wrong\.ts.*TS2322/)
  })

  test('attw and publint accept it', async () => {
    const attw = await run(tool('attw'), [tarball, '--profile', 'esm-only', '--format', 'ascii'], {
      cwd: project,
    })
    expect(attw.status, attw.stdout + attw.stderr).toBe(0)
    const publint = await run(tool('publint'), [installed, '--pack', 'false', '--strict'], { cwd: project })
    expect(publint.status, publint.stdout + publint.stderr).toBe(0)
  })
})

describe('the programs', () => {
  test('linkwright --version', async () => {
    const { stdout, status } = await run('npx', ['linkwright', '--version'], { cwd: project })
    expect(stdout).toMatch(/\d+\.\d+\.\d+/)
    expect(status).toBe(0)
  })

  test('linkwright demo: a real attachment', async () => {
    const { stdout, stderr, status } = await run('npx', ['linkwright', 'demo'], { cwd: project })
    expect(status, stdout + stderr).toBe(0)
  })

  test('linkwright install: plugins, the launcher of this processor, units, and a command line', async () => {
    const host = await privateHost()
    const options = [
      '--prefix',
      '/run/opt',
      '--bin-dir',
      '/run/cni',
      '--systemd',
      '--systemd-dir',
      '/run/units',
    ]
    const install = (): Promise<string> =>
      host.must(join(project, 'node_modules/.bin/linkwright'), ['install', '--json', ...options], {
        timeout: 120_000,
      })
    await host.must('mkdir', ['/run/cni', '/run/units'])
    const done = JSON.parse(await install()) as { types: string[]; changed: boolean }
    expect(done).toMatchObject({ changed: true, types: expect.arrayContaining(['bridge', 'host-local']) })
    expect(readdirSync(host.file('/run/cni')).sort()).toEqual(done.types)
    const current = readdirSync(host.file('/run/opt/lib/linkwright/current'))
    expect(current.filter((name) => name.startsWith('linkwright-launcher'))).toEqual(['linkwright-launcher'])
    expect(current.filter((name) => name.endsWith('.node')).sort()).toEqual(
      ['glibc', 'musl'].map((libc) => `linkwright.linux-${process.arch}.${libc}.node`),
    )
    expect(readdirSync(host.file('/run/units')).sort()).toEqual(
      readdirSync(join(root, 'deploy/systemd')).sort(),
    )
    const unit = readFileSync(host.file('/run/units/linkwright.service'), 'utf8')
    expect(unit).toContain('ExecStart=/run/opt/bin/linkwright daemon')
    expect(await host.must('/run/opt/bin/linkwright', ['--version'])).toMatch(/\d+\.\d+\.\d+/)
    const env = { ...plainEnv, CNI_COMMAND: 'VERSION' }
    expect(await host.must('/run/cni/bridge', [], { env })).toContain('supportedVersions')
    expect(JSON.parse(await install())).toMatchObject({ changed: false })
    await host.must('/run/opt/bin/linkwright', ['uninstall', ...options.slice(0, 4)])
    expect(readdirSync(host.file('/run/cni'))).toEqual([])
    expect(readdirSync(host.file('/run/units'))).toEqual([])
  })

  test('bin/<type> answer VERSION', async () => {
    const bin = join(installed, 'dist/cni/bin')
    const types = readdirSync(bin)
    expect(types.length).toBeGreaterThan(15)
    for (const type of ['bridge', 'host-local', 'portmap']) {
      expect(types).toContain(type)
      const { stdout } = await run(join(bin, type), [], { env: { ...plainEnv, CNI_COMMAND: 'VERSION' } })
      expect(JSON.parse(stdout)).toMatchObject({ supportedVersions: expect.arrayContaining(['1.1.0']) })
    }
  })
})
