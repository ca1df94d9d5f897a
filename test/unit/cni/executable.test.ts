import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, existsSync, mkdtempSync, openSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { run as runProgram } from '../../support/program.ts'

const here = (path: string) => fileURLToPath(new URL(path, import.meta.url))
const addon = here('../../../build/Release/linkwright.node')

let directory = ''
let bundle = ''
let plugin = ''
beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'linkwright-'))
  bundle = join(directory, 'linkwright-cni.cjs')
  plugin = join(directory, 'filer')
  await build({
    entryPoints: [here('entry.ts')],
    bundle: true,
    platform: 'node',
    target: 'node20',
    format: 'cjs',
    outfile: bundle,
    logLevel: 'error',
    define: {
      __LINKWRIGHT_ADDON__: JSON.stringify(addon),
      __LINKWRIGHT_VERSION__: '"1.2.3"',
      'import.meta.url': JSON.stringify(import.meta.url),
    },
  })
  symlinkSync(bundle, plugin)
})
afterAll(() => rmSync(directory, { recursive: true, force: true }))

const env = {
  PATH: process.env.PATH ?? '',
  CNI_COMMAND: 'ADD',
  CNI_CONTAINERID: 'cid-1',
  CNI_NETNS: '/nowhere/netns',
  CNI_IFNAME: 'eth0',
  CNI_PATH: '/nowhere/bin',
}
const file = () => join(directory, 'file')
const input = (more: object = {}) =>
  JSON.stringify({ cniVersion: '1.0.0', name: 'net', type: 'filer', file: file(), ...more })

interface Call {
  readonly env?: Readonly<Record<string, string>>
  readonly input?: string
  readonly script?: string
  readonly args?: readonly string[]
}
const run = (call: Call = {}) =>
  runProgram(process.execPath, [call.script ?? plugin, ...(call.args ?? [])], {
    env: { ...env, ...call.env },
    input: call.input ?? input(),
  })

describe('the executable', () => {
  it('adds and deletes', async () => {
    const added = await run()
    expect(added).toMatchObject({ status: 0, stderr: '' })
    expect(JSON.parse(added.stdout)).toMatchObject({ cniVersion: '1.0.0', ips: [{ address: '10.1.0.2/16' }] })
    expect(added.stdout.endsWith('}')).toBe(true)
    expect(existsSync(file())).toBe(true)
    expect(await run({ env: { CNI_COMMAND: 'DEL' } })).toMatchObject({ status: 0, stdout: '', stderr: '' })
    expect(existsSync(file())).toBe(false)
  })

  it('takes back an ADD that fails', async () => {
    const { status, stdout, stderr } = await run({ input: input({ next: 'fail' }) })
    expect({ status, stderr }).toEqual({ status: 1, stderr: '' })
    expect(JSON.parse(stdout)).toEqual({ cniVersion: '1.0.0', code: 999, msg: 'it failed' })
    expect(existsSync(file())).toBe(false)
  })

  it.each(['SIGTERM', 'SIGINT', 'SIGHUP'] as const)(
    'takes back an ADD that is stopped by %s',
    async (signal) => {
      const child = spawn(process.execPath, [plugin], { env, stdio: 'pipe' })
      child.stdin.end(input({ next: 'wait' }))
      let stdout = ''
      child.stdout.on('data', (data) => {
        stdout += data
      })
      await once(child.stderr, 'data')
      expect(existsSync(file())).toBe(true)
      child.kill(signal)
      const [status] = await once(child, 'close')
      expect(status).toBe(1)
      expect(JSON.parse(stdout)).toMatchObject({ code: 999, msg: `stopped by ${signal}` })
      expect(existsSync(file())).toBe(false)
    },
  )

  it('sees a signal that came while it was busy', async () => {
    const { status, stdout } = await run({ input: input({ next: 'kill' }) })
    expect(status).toBe(1)
    expect(JSON.parse(stdout)).toMatchObject({ msg: 'stopped by SIGTERM' })
    expect(existsSync(file())).toBe(false)
  })

  it('takes an ADD back when a promise that nobody waits for fails', async () => {
    const { status, stdout } = await run({ input: input({ next: 'reject' }) })
    expect(status).toBe(1)
    expect(JSON.parse(stdout)).toMatchObject({
      code: 999,
      msg: 'stopped by an error outside of the plugin: nobody waits for this',
    })
    expect(existsSync(file())).toBe(false)
  })

  it('takes an ADD back when nobody reads the result', async () => {
    const child = spawn(process.execPath, [plugin], { env, stdio: 'pipe' })
    child.stdout.destroy()
    let stderr = ''
    child.stderr.on('data', (data) => {
      stderr += data
    })
    child.stdin.end(input())
    const [status] = await once(child, 'close')
    expect(status).toBe(1)
    expect(stderr).toContain('EPIPE')
    expect(existsSync(file())).toBe(false)
  })

  it('takes an ADD back when the result can not be written', async () => {
    const full = openSync('/dev/full', 'w')
    const child = spawn(process.execPath, [plugin], { env, stdio: ['pipe', full, 'pipe'] })
    child.stdin?.end(input())
    const [status] = await once(child, 'close')
    closeSync(full)
    expect(status).toBe(1)
    expect(existsSync(file())).toBe(false)
  })

  it('refuses an input without end', async () => {
    const { status, stdout } = await run({ input: ' '.repeat((1 << 20) + 1) })
    expect(status).toBe(1)
    expect(JSON.parse(stdout)).toMatchObject({
      code: 5,
      msg: 'error reading from stdin: a configuration has at most 1048576 bytes',
    })
  })

  it('reads an input of exactly the limit', async () => {
    const text = input()
    const { status } = await run({ input: text + ' '.repeat((1 << 20) - text.length) })
    expect(status).toBe(0)
    rmSync(file())
  })

  it('writes warnings to standard error', async () => {
    const { status, stderr } = await run({ input: input({ next: 'warn' }) })
    expect({ status, stderr }).toEqual({ status: 0, stderr: 'filer: look out file="x"\n' })
    rmSync(file())
  })
})

describe('its names and arguments', () => {
  const nothing = { CNI_COMMAND: '' }
  const about = 'CNI filer plugin v1.2.3'
  const versions = 'CNI protocol versions supported: 0.1.0, 0.2.0, 0.3.0, 0.3.1, 0.4.0, 1.0.0, 1.1.0\n'

  it('says what it is, on standard error', async () => {
    expect(await run({ env: nothing, input: '' })).toMatchObject({
      status: 0,
      stdout: '',
      stderr: `${about}\n${versions}`,
    })
  })

  it('prints its version and some help where nothing is asked of it', async () => {
    const version = await run({ env: nothing, args: ['--version'] })
    expect(version).toMatchObject({ status: 0, stdout: `${about}\n`, stderr: '' })
    const help = await run({ env: nothing, args: ['--help'] })
    expect(help.status).toBe(0)
    expect(help.stdout).toContain(`${about}\n${versions}`)
  })

  it('lets no argument change what a runtime asks', async () => {
    const { stdout } = await run({ env: { CNI_COMMAND: 'VERSION' }, args: ['--version'] })
    expect(JSON.parse(stdout)).toMatchObject({ cniVersion: '1.1.0' })
  })

  it('takes the type as its argument when called by its own name', async () => {
    const { status, stdout } = await run({ script: bundle, args: ['filer'], env: { CNI_COMMAND: 'VERSION' } })
    expect(status).toBe(0)
    expect(JSON.parse(stdout).supportedVersions).toHaveLength(7)
  })

  it('knows what it does not know', async () => {
    const asked = await run({ script: bundle, args: ['other'] })
    expect(asked.status).toBe(1)
    expect(JSON.parse(asked.stdout)).toMatchObject({ code: 999, msg: 'unknown plugin "other"' })
    const idle = await run({ script: bundle, env: nothing })
    expect(idle).toMatchObject({ status: 2, stdout: '' })
    expect(idle.stderr).toContain('no plugin named')
  })
})
