/** What `npm run dist` makes, unpacked in an empty folder and used as on a host without Node. */
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { must, run } from '../support/program.ts'
import { type PrivateHost, privateHost } from '../support/space.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))
const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string }
const name = `linkwright-${version}-linux-${process.arch}`

let temporary = ''
/** The unpacked archive. */
let folder = ''
/** What tar says of it. */
let listing = ''
beforeAll(async () => {
  temporary = mkdtempSync(join(tmpdir(), 'linkwright-dist-test-'))
  await must(process.execPath, [join(root, 'scripts/dist.mjs'), '--level', '0', '--output', temporary], {
    timeout: 170_000,
  })
  await must('sha256sum', ['--check', '--quiet', `${name}.tar.xz.sha256`], { cwd: temporary })
  const how = ['--numeric-owner', '--full-time', '--utc']
  listing = await must('tar', ['-xvvJf', `${name}.tar.xz`, ...how], { cwd: temporary })
  folder = join(temporary, name)
})
afterAll(() => rmSync(temporary, { recursive: true, force: true }))

const types = (): string[] => readdirSync(join(folder, 'bin')).filter((type) => type !== 'linkwright')

describe('the archive', () => {
  test('has what a host needs', () => {
    expect(readdirSync(folder).sort()).toEqual([
      'LICENSE',
      'README.md',
      'bin',
      'licenses',
      'linkwright-cni',
      'linkwright-launcher',
      'linkwright.node',
      'systemd',
    ])
    expect(types()).toEqual(readdirSync(join(root, 'dist/cni/bin')).sort())
    expect(readlinkSync(join(folder, 'bin/bridge'))).toBe('../linkwright-launcher')
    expect(readlinkSync(join(folder, 'bin/linkwright'))).toBe('../linkwright-cni')
    expect(readdirSync(join(folder, 'systemd'))).toEqual(readdirSync(join(root, 'deploy/systemd')))
    expect(statSync(join(folder, 'linkwright-cni')).mode & 0o777).toBe(0o755)
    const licences = readdirSync(join(folder, 'licenses')).map((file) => file.replace(/-[\d.]+\.txt$/, ''))
    expect(licences).toEqual(expect.arrayContaining(['ip-num', 'node', 'node-addon-api', 'zod']))
  })

  test("belongs to nobody, and has the last commit's date", () => {
    const entries = listing.trim().split('\n')
    const commit = spawnSync('git', ['log', '-1', '--format=%ct'], { cwd: root, encoding: 'utf8' })
    const date = new Date(Number(commit.stdout) * 1000).toISOString().slice(0, 19).replace('T', ' ')
    for (const entry of entries) expect(entry).toMatch(new RegExp(`^\\S+ 0/0 +\\d+ ${date} `))
  })
})

describe('the executable', () => {
  test('is the same when it is built again', async () => {
    const script = join(root, 'scripts/sea')
    const again = `
      const { buildExecutable } = await import(${JSON.stringify(`${script}/executable.mjs`)})
      const { addonFor } = await import(${JSON.stringify(`${script}/addon.mjs`)})
      const { bytes } = await buildExecutable({ arch: process.arch, addon: addonFor(process.arch) })
      const { createHash } = await import('node:crypto')
      process.stdout.write(createHash('sha256').update(bytes).digest('hex'))`
    // A working directory of its own: where something is built must not matter.
    const hash = await must(process.execPath, ['--input-type=module', '-e', again], { cwd: temporary })
    const first = createHash('sha256').update(readFileSync(join(folder, 'linkwright-cni')))
    expect(hash).toBe(first.digest('hex'))
  })

  test('knows every type, and needs no variable and no file of the host', async () => {
    for (const type of types()) {
      const { stdout, stderr, status } = await run(join(folder, 'bin', type), [], {
        env: { CNI_COMMAND: 'VERSION' },
        cwd: temporary,
      })
      expect({ type, status, stderr }).toEqual({ type, status: 0, stderr: '' })
      expect(JSON.parse(stdout)).toMatchObject({ cniVersion: '1.1.0' })
    }
  })

  test('is the command line too, by name or by its first argument', async () => {
    const env = {}
    expect(await must(join(folder, 'bin/linkwright'), ['--version'], { env })).toBe(`linkwright ${version}\n`)
    const program = join(folder, 'linkwright-cni')
    expect(await must(program, ['linkwright', '--version'], { env })).toBe(`linkwright ${version}\n`)
    expect(await must(program, ['linkwright', 'daemon', '--help'], { env })).toContain('--socket')
    expect(await must(program, ['bridge', '--version'], { env })).toBe(`CNI bridge plugin v${version}\n`)
    const { status, stderr } = await run(program, ['nonsense'], { env })
    expect(status).toBe(2)
    expect(stderr).toContain('unknown plugin "nonsense"')
  })

  test('runs nothing that a variable names', async () => {
    const work = join(temporary, 'hostile')
    mkdirSync(work)
    const script = join(work, 'hostile.cjs')
    writeFileSync(script, `require('fs').writeFileSync(${JSON.stringify(join(work, 'ran'))}, '')`)
    const program = join(folder, 'linkwright-cni')
    const plain = await must(program, ['bridge'], { env: { CNI_COMMAND: 'VERSION' } })
    const hostile = {
      CNI_COMMAND: 'VERSION',
      NODE_EXTRA_CA_CERTS: join(work, 'none.pem'),
      NODE_PATH: work,
      OPENSSL_CONF: script,
    }
    for (const options of [
      `--require=${script}`,
      `--import=${script}`,
      '--inspect-brk',
      '--no-such-option',
    ]) {
      const finished = await run(program, ['bridge'], { env: { ...hostile, NODE_OPTIONS: options } })
      expect({ options, ...finished }).toMatchObject({ options, status: 0, stdout: plain, stderr: '' })
    }
    // What Node writes by itself, and what makes it refuse: the launcher does not pass that on.
    const more = {
      NODE_V8_COVERAGE: join(work, 'coverage'),
      NODE_COMPILE_CACHE: join(work, 'cache'),
      NODE_REPL_EXTERNAL_MODULE: script,
    }
    const launched = await run(join(folder, 'bin/bridge'), [], {
      env: { ...hostile, ...more, NODE_OPTIONS: `--require=${script}` },
    })
    expect(launched).toMatchObject({ status: 0, stdout: plain, stderr: '' })
    expect(readdirSync(work)).toEqual(['hostile.cjs'])
  })
})

const conf = {
  cniVersion: '1.0.0',
  name: 'net',
  type: 'bridge',
  bridge: 'cni0',
  ipam: { type: 'host-local', subnet: '10.22.0.0/16' },
}

interface Result {
  readonly interfaces: readonly { readonly name: string; readonly mac: string }[]
  readonly ips: readonly { readonly address: string }[]
}

/** Calls /mnt/bin/bridge, where the unpacked archive is mounted. */
const call = (host: PrivateHost, command: string, sandbox: string, program = ['/mnt/bin/bridge']) =>
  host.run(program[0]!, program.slice(1), {
    env: {
      CNI_COMMAND: command,
      CNI_CONTAINERID: 'one',
      CNI_NETNS: sandbox,
      CNI_IFNAME: 'eth0',
      CNI_PATH: '/nowhere',
      // For nsenter itself: `Space.run` starts it with this environment.
      PATH: '/usr/bin:/bin',
    },
    input: JSON.stringify(conf),
  })

/** A host that has the archive on /mnt, and folders where the addon could be put that forbid to execute files. */
const hostWith = async (noexec: readonly string[]): Promise<PrivateHost> => {
  const host = await privateHost()
  await host.must('mount', ['--bind', folder, '/mnt'])
  for (const path of ['/run', '/dev/shm', '/tmp'])
    await host.must('mount', ['-t', 'tmpfs', '-o', noexec.includes(path) ? 'noexec' : 'exec', 'tmpfs', path])
  return host
}

const leftIn = async (host: PrivateHost): Promise<string> =>
  await host.must('find', ['/run', '/dev/shm', '/tmp', '-mindepth', '1', '-not', '-path', '/run/netns*'])

describe('a bridge', () => {
  test.each([
    ['from a file without a name', []],
    ['where /tmp and /dev/shm forbid it', ['/tmp', '/dev/shm']],
    ['where /run forbids it', ['/run']],
    ['from the file beside the executable', ['/run', '/dev/shm', '/tmp']],
  ])('with the addon %s', async (_, noexec) => {
    const host = await hostWith(noexec)
    const blue = await host.container()
    const added = await call(host, 'ADD', blue.sandbox)
    expect(added).toMatchObject({ status: 0, stderr: '' })
    const first = JSON.parse(added.stdout) as Result
    expect(first.ips[0]!.address).toBe('10.22.0.2/16')
    const links = await blue.ipJson<{ ifname: string; operstate: string }>('link', 'show', 'eth0')
    expect(links[0]).toMatchObject({ ifname: 'eth0', operstate: 'UP' })
    expect(await leftIn(host)).not.toMatch(/linkwright\.node|#/)
    expect(await call(host, 'DEL', blue.sandbox)).toMatchObject({ status: 0, stdout: '' })
    expect((await blue.ipJson<{ ifname: string }>('link')).map(({ ifname }) => ifname)).toEqual(['lo'])

    if (noexec.length > 0) return
    // What is random is not part of the snapshot.
    const again = JSON.parse((await call(host, 'ADD', blue.sandbox)).stdout) as Result
    expect(again.interfaces[1]!.name).not.toBe(first.interfaces[1]!.name)
    expect(again.interfaces[2]!.mac).not.toBe(first.interfaces[2]!.mac)
  })

  test('is refused where the addon can be put nowhere, with what was tried', async () => {
    const host = await hostWith(['/run', '/dev/shm', '/tmp'])
    await host.must('mount', ['--bind', '/dev/null', '/mnt/linkwright.node'])
    const blue = await host.container()
    const { status, stdout } = await call(host, 'ADD', blue.sandbox)
    expect(status).toBe(1)
    const { msg } = JSON.parse(stdout) as { msg: string }
    for (const place of ['/run', '/dev/shm', '/tmp', '/mnt/linkwright.node'])
      expect(msg).toContain(`${place}: `)
  })
})
