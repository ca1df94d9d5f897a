/** The command line, on a node in miniature; what plugins do is tested elsewhere. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { plainEnv, run } from '../../support/program.ts'
import { type Container, type PrivateHost, privateHost } from '../../support/space.ts'

const here = (path: string) => fileURLToPath(new URL(path, import.meta.url))

let directory = ''
let program = ''
beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'linkwright-'))
  program = join(directory, 'linkwright.cjs')
  await build({
    entryPoints: [here('../../../cli/linkwright.ts')],
    bundle: true,
    platform: 'node',
    target: 'node20',
    format: 'cjs',
    outfile: program,
    logLevel: 'error',
    define: {
      __LINKWRIGHT_ADDON__: JSON.stringify(here('../../../build/Release/linkwright.node')),
      __LINKWRIGHT_VERSION__: '"1.2.3"',
      'import.meta.url': JSON.stringify(import.meta.url),
    },
  })
})
afterAll(() => rmSync(directory, { recursive: true, force: true }))

const conf = {
  cniVersion: '1.1.0',
  name: 'lo',
  plugins: [{ type: 'loopback', capabilities: { mac: true } }],
}

interface Node {
  readonly host: PrivateHost
  readonly container: Container
  /** Runs `linkwright` in there. */
  readonly linkwright: (args: readonly string[], env?: Record<string, string>) => ReturnType<typeof run>
  readonly results: () => Promise<string[]>
}

const node = async (): Promise<Node> => {
  const host = await privateHost()
  const container = await host.container()
  const script = 'mkdir -p /run/net.d && cat > /run/net.d/10-lo.conflist'
  await host.must('sh', ['-c', script], { input: JSON.stringify(conf) })
  const linkwright = (args: readonly string[], env = {}) =>
    host.run(process.execPath, [program, ...args], {
      env: { ...plainEnv, NETCONFPATH: '/run/net.d', ...env },
      input: JSON.stringify(conf),
    })
  const results = async () =>
    (await host.run('ls', ['-A', '/var/lib/cni/results'])).stdout.split('\n').filter((name) => name !== '')
  return { host, container, linkwright, results }
}

describe('linkwright add, check, del', () => {
  it('does what cnitool does, and can be mixed with it', async () => {
    const { container, linkwright, results } = await node()
    const added = await linkwright(['add', 'lo', '/run/netns/blue'])
    expect(added).toMatchObject({ status: 0, stderr: '' })
    expect(JSON.parse(added.stdout)).toMatchObject({
      cniVersion: '1.1.0',
      interfaces: [{ name: 'lo', sandbox: '/run/netns/blue' }],
      ips: [{ address: '127.0.0.1/8', interface: 0 }, { address: '::1/128' }],
    })
    // The hash of the path, as cnitool makes it.
    expect(await results()).toEqual(['lo-cnitool-df26705e2e4ffd095eb1-eth0'])
    expect(await container.ipJson('link', 'show', 'lo')).toMatchObject([
      { flags: expect.arrayContaining(['UP']) },
    ])
    expect(await linkwright(['check', 'lo', '/run/netns/blue'])).toMatchObject({ status: 0, stdout: '' })
    expect(await linkwright(['del', 'lo', '/run/netns/blue'])).toMatchObject({ status: 0, stdout: '' })
    expect(await results()).toEqual([])
    expect(await linkwright(['del', 'lo', '/run/netns/blue'])).toMatchObject({ status: 0 })
    const checked = await linkwright(['check', 'lo', '/run/netns/blue'])
    expect(checked).toMatchObject({ status: 1, stdout: '' })
    expect(checked.stderr).toMatch(/^linkwright: /)
  })

  it('takes a file, or standard input, and every option', async () => {
    const { host, linkwright, results } = await node()
    await host.must('sh', ['-c', 'ln -s /run/netns /var/run/netns 2>/dev/null; mkdir /run/here'])
    const args = ['--ifname', 'net1', '--container-id', 'me', '--args', 'A=b', '--cache-dir', '/run/cache']
    const add = await linkwright(['add', '/run/net.d/10-lo.conflist', '/run/netns/blue', ...args])
    expect(add.status).toBe(0)
    expect(await results()).toEqual([])
    const cached = await host.must('cat', ['/run/cache/results/lo-me-net1'])
    expect(JSON.parse(cached)).toMatchObject({ cniArgs: [['A', 'b']], netns: '/run/netns/blue' })
    const capability = ['--capability-args', '{"mac":"02:00:00:00:00:01"}']
    expect(await linkwright(['add', '-', '/run/netns/blue', ...capability])).toMatchObject({ status: 0 })
    expect(await results()).toHaveLength(1)
  })

  it('takes its defaults from the variables that cnitool knows', async () => {
    const { linkwright, results } = await node()
    const variables = { CNI_IFNAME: 'net2', CNI_ARGS: 'A=b', CAP_ARGS: '{}', CNI_PATH: '/nowhere' }
    expect(await linkwright(['add', 'lo', '/run/netns/blue'], variables)).toMatchObject({ status: 0 })
    expect(await results()).toEqual([expect.stringMatching(/-net2$/)])
  })

  it('reports errors for people, and as JSON where asked', async () => {
    const { linkwright, results } = await node()
    const words = await linkwright(['add', 'lo', '/run/netns/red'])
    expect(words).toMatchObject({ status: 1, stdout: '' })
    expect(words.stderr).toContain('failed to open netns "/run/netns/red"')
    const json = await linkwright(['add', 'lo', '/run/netns/red', '--json'])
    expect(json).toMatchObject({ status: 1, stderr: '' })
    expect(JSON.parse(json.stdout)).toMatchObject({ cniVersion: '1.1.0', code: 8 })
    expect((await linkwright(['add', 'nix', '/run/netns/blue'])).stderr).toContain(
      'no net configuration with name "nix" in /run/net.d',
    )
    expect(await results()).toEqual([])
  })
})

describe('linkwright gc and status', () => {
  it('keeps what is named, and what is still there', async () => {
    const { host, linkwright, results } = await node()
    const red = await host.container('red')
    for (const id of ['a', 'b']) await linkwright(['add', 'lo', '/run/netns/blue', '--container-id', id])
    await linkwright(['add', 'lo', '/run/netns/red', '--container-id', 'c'])
    expect(await linkwright(['gc', 'lo'])).toMatchObject({ status: 2 })
    await red.close()
    expect(await linkwright(['gc', 'lo', '--keep-live'])).toMatchObject({ status: 0, stderr: '' })
    expect(await results()).toEqual(['lo-a-eth0', 'lo-b-eth0'])
    await linkwright(['gc', 'lo', '--keep', 'b/eth0'])
    expect(await results()).toEqual(['lo-b-eth0'])
    await linkwright(['gc', 'lo', '--all'])
    expect(await results()).toEqual([])
  })

  it('removes what only the plugins know of, in a configuration that has no GC', async () => {
    const { host, linkwright, results } = await node()
    await host.container('red')
    const old = {
      cniVersion: '0.4.0',
      name: 'old',
      type: 'ptp',
      ipam: { type: 'host-local', subnet: '10.33.0.0/24', dataDir: '/run/reservations' },
    }
    await host.must('sh', ['-c', 'cat > /run/net.d/20-old.conf'], { input: JSON.stringify(old) })
    for (const id of ['blue', 'red'])
      expect(await linkwright(['add', 'old', `/run/netns/${id}`, '--container-id', id])).toMatchObject({
        status: 0,
      })
    await host.must('rm', ['/var/lib/cni/results/old-red-eth0'])
    expect(await linkwright(['gc', 'old', '--keep-live'])).toMatchObject({
      status: 0,
      stdout: '',
      stderr: '',
    })
    expect(await results()).toEqual(['old-blue-eth0'])
    const addresses = await host.must('ls', ['/run/reservations/old'])
    expect(addresses.split('\n').filter((name) => name.startsWith('10.'))).toEqual(['10.33.0.2'])
    expect(await host.ipJson('link', 'show', 'type', 'veth')).toMatchObject([
      { ifalias: 'linkwright:old/blue/eth0' },
    ])
  })

  it('keeps whose namespace only the result tells, and who may be there', async () => {
    const { host, linkwright, results } = await node()
    const red = await host.container('red')
    for (const [id, place] of [
      ['a', 'blue'],
      ['b', 'red'],
      ['c', 'red'],
    ] as const)
      await linkwright(['add', 'lo', `/run/netns/${place}`, '--container-id', id])
    await red.close()
    // As libcni kept it before 1.3; the last one's result tells of no sandbox either.
    const cut = 's/"netns":"[^"]*",//'
    await host.must('sh', [
      '-ec',
      `cd /var/lib/cni/results; sed -i '${cut}' *; sed -i 's/"sandbox"/"sand"/' lo-c-eth0`,
    ])
    const { status, stderr } = await linkwright(['gc', 'lo', '--keep-live'])
    expect(status).toBe(0)
    expect(stderr).toBe('linkwright: c/eth0 stays: the cache does not tell its namespace\n')
    expect(await results()).toEqual(['lo-a-eth0', 'lo-c-eth0'])
  })

  it('removes nothing while it can not tell what is there', async () => {
    const { host, linkwright, results } = await node()
    const red = await host.container('red')
    await linkwright(['add', 'lo', '/run/netns/red', '--container-id', 'a'])
    await red.close()
    const broken = '/var/lib/cni/results/lo-b-eth0'
    await host.must('sh', ['-ec', `echo '{' > ${broken}; echo '{' > /var/lib/cni/results/other-b-eth0`])
    const refused = await linkwright(['gc', 'lo', '--keep-live'])
    expect(refused).toMatchObject({ status: 1, stdout: '' })
    expect(refused.stderr).toContain(`not known: ${broken}: it holds no JSON\n`)
    expect(JSON.parse((await linkwright(['gc', 'lo', '--keep-live', '--json'])).stdout)).toMatchObject({
      code: 5,
    })
    expect(await results()).toHaveLength(3)
    const named = await linkwright(['gc', 'lo', '--keep', 'b/eth0'])
    expect(named.status).toBe(0)
    expect(named.stderr).toContain(`${broken} stands for an attachment that is not deleted: it holds no JSON`)
    expect(await results()).toEqual(['lo-b-eth0', 'other-b-eth0'])
    // What stands for nothing else is in nobody's way.
    await host.must('rm', [broken])
    expect(await linkwright(['gc', 'lo', '--keep-live'])).toMatchObject({ status: 0, stderr: '' })
  })

  it('says so where the configuration wants none', async () => {
    const { host, linkwright, results } = await node()
    const disabled = JSON.stringify({ ...conf, disableGC: true })
    await host.must('sh', ['-c', 'cat > /run/net.d/10-lo.conflist'], { input: disabled })
    await linkwright(['add', 'lo', '/run/netns/blue', '--container-id', 'a'])
    expect(await linkwright(['gc', 'lo', '--all'])).toMatchObject({
      status: 0,
      stdout: '',
      stderr: 'linkwright: nothing is removed: the configuration of lo says disableGC\n',
    })
    expect(await results()).toEqual(['lo-a-eth0'])
  })

  it('asks for the status', async () => {
    const { linkwright } = await node()
    expect(await linkwright(['status', 'lo'])).toMatchObject({ status: 0, stdout: '', stderr: '' })
  })
})

describe('linkwright', () => {
  const linkwright = (...args: readonly string[]) => run(process.execPath, [program, ...args])

  it.each([[['--help']], [['help']], [['-h']]])('%j lists the commands', async (args) => {
    const { status, stdout } = await linkwright(...args)
    expect(status).toBe(0)
    for (const name of ['add', 'del', 'check', 'gc', 'status', 'schema'])
      expect(stdout).toContain(`  ${name} `)
  })

  it.each(['add', 'del', 'check', 'gc', 'status', 'schema'])('%s --help', async (name) => {
    const { status, stdout, stderr } = await linkwright(name, '--help')
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' })
    expect(stdout).toContain(`Usage: linkwright ${name} `)
    expect(stdout.split('\n').every((line) => line.length <= 110)).toBe(true)
  })

  it.each([
    [[], 'Usage: linkwright COMMAND'],
    [['fly'], 'no command "fly"'],
    [['constructor'], 'no command "constructor"'],
    [['add'], 'NETWORK is missing'],
    [['add', 'lo'], 'NETNS is missing'],
    [['add', 'a', 'b', 'c'], 'too many arguments: c'],
    [['add', 'a', 'b', '--nix'], "Unknown option '--nix'"],
    [['add', 'a', 'b', '--ifname'], 'argument missing'],
    [['add', 'a', 'b', '--capability-args', '['], '--capability-args: '],
    [['add', 'a', 'b', '--capability-args', '[]'], 'expected a JSON object'],
    [['gc', 'a', '--keep', 'b'], 'expected CONTAINERID/IFNAME'],
    [['gc', 'a', '--all', '--keep-live'], 'say what stays'],
    [['schema', 'nix'], 'there is no plugin "nix"'],
  ])('%j is wrong', async (args, message) => {
    const { status, stdout, stderr } = await linkwright(...args)
    expect({ status, stdout }).toEqual({ status: 2, stdout: '' })
    expect(stderr).toContain(message)
  })

  it('prints its version', async () => {
    expect(await linkwright('--version')).toMatchObject({ status: 0, stdout: 'linkwright 1.2.3\n' })
  })

  it('prints schemas', async () => {
    const { status, stdout } = await linkwright('schema', 'loopback', '--json')
    expect(status).toBe(0)
    expect(JSON.parse(stdout)).toMatchObject({
      title: 'CNI plugin loopback',
      type: 'object',
      required: ['name'],
    })
  })
})
