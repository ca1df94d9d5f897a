/** No daemon: what is executed in the launcher's place, with what, and that it is nothing else. */
import { spawnSync } from 'node:child_process'
import { chmodSync, copyFileSync, mkdirSync, readFileSync, renameSync, symlinkSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, describe, expect, test } from 'vitest'
import { run } from '../../support/program.ts'
import { builds, built, errorOf, Launched, unread } from './launched.ts'

/** Added where a runtime asks for something. */
const own = { GLIBC_TUNABLES: 'glibc.malloc.hugetlb=1' }

const pairs = (environment: { [name: string]: string }): string[] =>
  Object.entries(environment)
    .map(([name, value]) => `${name}=${value}`)
    .toSorted()

describe.each(builds)('%s', (_, flags, file) => {
  beforeAll(() => built(flags), 120_000)

  test('gets type, input and environment', async () => {
    const it = new Launched(file)
    const finished = await it.run({ args: ['--ignored', 'x'], input: 'any bytes' })
    expect(finished).toMatchObject({ status: 0, stdout: 'standalone ADD\n', stderr: 'standalone says\n' })
    expect(it.record()).toMatchObject({ arguments: ['bridge'], stdin: 'any bytes' })
    expect(it.record()?.environment.toSorted()).toEqual(pairs(it.env(own)))
  })

  test('its status is the launcher’s', async () => {
    const it = new Launched(file)
    it.write('status', '7')
    expect((await it.run()).status).toBe(7)
  })

  test('without CNI_COMMAND it gets the arguments, and standard input as it is', async () => {
    const it = new Launched(file)
    const { CNI_COMMAND: _command, ...env } = it.env()
    await it.run({ args: ['daemon', '-pidfile', 'a b'], input: 'x', env })
    expect(it.record('')).toMatchObject({ arguments: ['bridge', 'daemon', '-pidfile', 'a b'], stdin: 'x' })
    expect(it.record('')?.descriptors[0]).toMatch(/^0 (pipe|socket):/)
    await it.run({ env: { ...env, CNI_COMMAND: '' } })
    expect(it.record('')?.arguments).toEqual(['bridge'])
  })

  test.each([
    ['an absolute path', '/opt/cni/bin/macvlan', ['x'], ['macvlan']],
    ['a relative path', './host-local', ['x'], ['host-local']],
    ['32 characters', 'a'.repeat(32), ['x'], ['a'.repeat(32)]],
    ['its own name', 'linkwright-launcher', ['ptp', 'x'], ['ptp']],
    ['its own name, in a folder', '/opt/linkwright-launcher', ['ptp'], ['ptp']],
    ['its own name, and nothing else', 'linkwright-launcher', [], []],
    ['nothing', '', ['ptp'], ['ptp']],
    ['a folder', '/opt/cni/bin/', ['ptp'], ['ptp']],
    ['33 characters', 'a'.repeat(33), ['ptp'], ['ptp']],
    ['capitals', 'Bridge', ['ptp'], ['ptp']],
    ['dots', '..', ['ptp'], ['ptp']],
    ['dots twice', '..', ['../bridge'], []],
    ['a space', 'bridge ptp', [''], []],
  ])('called by %s', async (_what, name, args, expected) => {
    const it = new Launched(file)
    await it.run({ name, args })
    expect(it.record()?.arguments).toEqual(expected)
  })

  test('by its own name and without CNI_COMMAND', async () => {
    const it = new Launched(file)
    const { CNI_COMMAND: _command, ...env } = it.env()
    await it.run({ name: 'linkwright-launcher', args: ['dhcp', 'daemon'], env })
    expect(it.record('')?.arguments).toEqual(['dhcp', 'daemon'])
    await it.run({ name: 'linkwright-launcher', env })
    expect(it.record('')?.arguments).toEqual([])
    await it.run({ name: 'linkwright-launcher', args: ['--version'], env })
    expect(it.record('')?.arguments).toEqual(['--version'])
  })

  test('is called by its own name', async () => {
    const it = new Launched(file)
    // Prints what it was called by, which has no applet.
    copyFileSync('/bin/busybox', join(it.folder, 'linkwright-cni'))
    expect((await it.run()).stderr).toContain('linkwright-cni: applet not found')
  })

  test('does not get what could make it run something else', async () => {
    const it = new Launched(file)
    const foreign = {
      NODE_OPTIONS: '--require=/tmp/x.js',
      NODE_EXTRA_CA_CERTS: '/tmp/x',
      NODE_PATH: '/tmp',
      NODE_REPL_EXTERNAL_MODULE: '/tmp/x.js',
      NODE_COMPILE_CACHE: '/tmp',
      NODE_V8_COVERAGE: '/tmp',
      NODE_CHANNEL_FD: '3',
      OPENSSL_CONF: '/tmp/x',
      OPENSSL_MODULES: '/tmp',
      OPENSSL_ENGINES: '/tmp',
      GCONV_PATH: '/tmp',
      GLIBC_TUNABLES: 'x',
      BASH_ENV: '/tmp/x',
      'BASH_FUNC_ip%%': '() { echo; }',
      LD_BIND_NOW: '1',
      LD_LIBRARY_PATH: '',
    }
    const kept = {
      NODE_NAME: 'n',
      NODE_IP: '10.0.0.1',
      NODEX: 'y',
      LDX: 'z',
      TRACEPARENT: 't',
      HTTP_PROXY: 'p',
    }
    for (const verb of ['ADD', '']) {
      await it.run({ env: it.env({ ...foreign, ...kept, CNI_COMMAND: verb }) })
      const passed = pairs(it.env({ ...kept, ...(verb === '' ? {} : own), CNI_COMMAND: verb }))
      expect(it.record(verb)?.environment.toSorted()).toEqual(passed)
    }
  })

  test('the daemon does not get it either, and of a CNI variable only the first', async () => {
    const it = new Launched(file)
    const daemon = it.daemon()
    const script = `
import ctypes, os, sys
libc = ctypes.CDLL(None)
words = lambda all: (ctypes.c_char_p * (len(all) + 1))(*all, None)
env = [b'CNI_COMMAND=DEL', b'NODE_OPTIONS=x', b'CNI_COMMAND=ADD', b'no equals', b'CNI_ARGS', b'LD_PRELOAD=/x', b'LINKWRIGHT_SOCKET=' + sys.argv[2].encode()]
libc.execve(sys.argv[1].encode(), words([b'ptp']), words(env))`
    const running = it.run({ prefix: ['python3', '-c', script, it.launcher, it.socket] })
    const peer = await daemon.next()
    await peer.greet()
    const length = (await peer.bytes(4)).readUInt32LE()
    const body = (await peer.bytes(length)).toString('latin1')
    expect(body).toContain(`CNI_COMMAND=DEL\0no equals\0CNI_ARGS\0LINKWRIGHT_SOCKET=${it.socket}\0`)
    peer.close()
    await running
    expect(it.record('DEL')?.environment).toContain('CNI_COMMAND=DEL')
    expect(it.record('ADD')).toBeNull()
  })

  test('gets no descriptor but 0, 1 and 2', async () => {
    const it = new Launched(file)
    const prefix = ['bash', '-c', 'exec 5</etc/passwd 77<>/dev/null; exec "$@"', 'bash']
    await it.run({ prefix })
    expect(it.record()?.descriptors.map((line) => line.split(' ')[0])).toEqual(['0', '1', '2'])
    // With a daemon that was there, and what was opened for it.
    const daemon = it.daemon()
    const running = it.run({ prefix, env: it.env({ CNI_COMMAND: 'DEL', CNI_NETNS: '/proc/self/ns/net' }) })
    const peer = await daemon.greeted()
    await peer.request()
    peer.close()
    await running
    const descriptors = it.record('DEL')?.descriptors ?? []
    expect(descriptors.map((line) => line.split(' ')[0])).toEqual(['0', '1', '2'])
    expect(descriptors[0]).toContain('memfd:stdin')
  })

  test('gets all of them without CNI_COMMAND: systemd hands sockets over', async () => {
    const it = new Launched(file)
    const { CNI_COMMAND: _command, ...env } = it.env()
    await it.run({ prefix: ['bash', '-c', 'exec 5</etc/passwd; exec "$@"', 'bash'], env })
    expect(it.record('')?.descriptors).toContain('5 /etc/passwd')
  })

  test('nothing takes the place of a standard descriptor that is closed', async () => {
    const it = new Launched(file)
    const daemon = it.daemon()
    const running = it.run({ prefix: ['sh', '-c', 'exec "$@" <&- 2>&-', 'sh'] })
    const peer = await daemon.greeted()
    expect((await peer.request()).stdin).toBe('')
    peer.send(Buffer.from(Uint32Array.of(21, 0, 0, 0, 5).buffer))
    peer.send(Buffer.from('noise'))
    expect(await peer.bytes(1)).toHaveLength(0)
    expect(await running).toMatchObject({ status: 0, stdout: '', stderr: '' })
  })

  test.each([
    ['that is nowhere', '/nowhere/daemon.sock'],
    ['that is relative', 'daemon.sock'],
    ['that is too long', `/${'x'.repeat(107)}`],
    ['that is no socket', '/etc/passwd'],
  ])('a socket %s is none', async (_what, path) => {
    const it = new Launched(file)
    it.daemon()
    const finished = await it.run({ env: it.env({ LINKWRIGHT_SOCKET: path }), until: Promise.resolve() })
    expect(finished.stdout).toBe('standalone ADD\n')
  })

  test('a socket that nobody listens at any more is none', async () => {
    const it = new Launched(file)
    const script = 'import socket, sys; socket.socket(socket.AF_UNIX).bind(sys.argv[1])'
    await run('python3', ['-c', script, it.socket])
    expect((await it.run()).stdout).toBe('standalone ADD\n')
  })

  test('a path of 107 bytes is one', async () => {
    const it = new Launched(file)
    const daemon = it.daemon()
    const long = `${it.folder}/${'./'.repeat(60)}daemon.sock`
    const path = `${it.folder}${'/'.repeat(107 - `${it.folder}daemon.sock`.length)}daemon.sock`
    expect([path.length, long.length > 107]).toEqual([107, true])
    const running = it.run({ env: it.env({ LINKWRIGHT_SOCKET: path }) })
    const peer = await daemon.greeted()
    await peer.request()
    peer.close()
    expect(errorOf(await running).code).toBe(11)
  })

  test('an environment that is too large for the daemon', async () => {
    const it = new Launched(file)
    const daemon = it.daemon()
    const env = it.env(Object.fromEntries([0, 1, 2].map((i) => [`LARGE${i}`, 'x'.repeat(100_000)])))
    expect((await it.run({ env, until: Promise.resolve() })).stdout).toBe('standalone ADD\n')
    expect(daemon.accepted).toBe(0)
  })

  test('more than a megabyte is what the standalone program says it is', async () => {
    const it = new Launched(file)
    const daemon = it.daemon()
    const running = it.run({ input: `{"cniVersion":"0.4.0","x":"${'x'.repeat(1 << 20)}"}` })
    const peer = await daemon.greeted()
    expect(await peer.bytes(1)).toHaveLength(0)
    expect(await running).toMatchObject({
      status: 1,
      stdout: `{
    "cniVersion": "1.1.0",
    "code": 5,
    "msg": "error reading from stdin: a configuration has at most 1048576 bytes"
}`,
      stderr: '',
    })
    expect(it.record()).toBeNull()
  })

  test('input that can not be read', async () => {
    const it = new Launched(file)
    it.daemon()
    const finished = await it.run({ prefix: ['sh', '-c', 'exec "$@" </', 'sh'], until: Promise.resolve() })
    expect(finished.status).toBe(1)
    expect(errorOf(finished)).toMatchObject({ code: 5, msg: 'error reading from stdin: EISDIR' })
  })

  test('an error that nobody reads', async () => {
    const it = new Launched(file)
    it.daemon()
    // Standard input can't be read.
    const prefix = [...unread, 'sh', '-c', 'exec "$@" </', 'sh']
    expect(await it.run({ prefix, until: Promise.resolve() })).toMatchObject({
      stdout: '1\n',
      stderr: 'linkwright-launcher: error writing to stdout: EPIPE\n',
    })
  })

  test.each([
    [
      'missing',
      (it: Launched) => renameSync(join(it.folder, 'linkwright-cni'), join(it.folder, 'x')),
      'ENOENT',
    ],
    ['not executable', (it: Launched) => chmodSync(join(it.folder, 'linkwright-cni'), 0o644), 'EACCES'],
    ['no program', (it: Launched) => it.write('linkwright-cni', 'nothing'), 'ENOEXEC'],
  ])('a standalone program that is %s', async (_what, spoil, errno) => {
    const it = new Launched(file)
    spoil(it)
    const finished = await it.run()
    const looked = `looked for ${it.folder}/linkwright-cni and ${it.folder}/../linkwright-cni`
    expect(finished).toMatchObject({ status: 1, stderr: '' })
    expect(errorOf(finished)).toEqual({
      cniVersion: '1.1.0',
      code: 5,
      msg: `the standalone program can not be executed: ${errno}`,
      details: looked,
    })
    const { CNI_COMMAND: _command, ...env } = it.env()
    expect(await it.run({ env })).toMatchObject({
      status: 1,
      stdout: '',
      stderr: `linkwright-launcher: the standalone program can not be executed: ${errno}. ${looked}\n`,
    })
  })

  test('is found where the launcher lies, and not where it is called from', async () => {
    const it = new Launched(file)
    const elsewhere = new Launched(file)
    elsewhere.write('linkwright-cni', '#!/bin/sh\necho foreign\n', 0o755)
    const link = join(elsewhere.folder, 'ptp')
    symlinkSync(it.launcher, link)
    const env = it.env({ PATH: elsewhere.folder })
    const { stdout } = await run(link, [], { env: { ...env, PATH: `${elsewhere.folder}:${env.PATH}` } })
    expect(stdout).toBe('standalone ADD\n')
    expect(it.record()?.arguments).toEqual(['ptp'])
  })

  test('is found one folder up from a copy, and by a launcher that was replaced while it ran', async () => {
    const it = new Launched(file)
    mkdirSync(join(it.folder, 'bin'))
    const copy = join(it.folder, 'bin/vlan')
    copyFileSync(file, copy)
    await run(copy, [], { env: it.env() })
    expect(it.record()?.arguments).toEqual(['vlan'])
    const daemon = it.daemon()
    const running = it.run({ env: it.env({ CNI_COMMAND: 'DEL' }) })
    const peer = await daemon.greeted()
    copyFileSync(file, join(it.folder, 'next'))
    renameSync(join(it.folder, 'next'), it.launcher)
    await peer.request()
    peer.close()
    expect((await running).stdout).toBe('standalone DEL\n')
  })

  test('no /proc: a clear error', async () => {
    const it = new Launched(file)
    const script = 'mount -t tmpfs tmpfs /proc && exec "$@"'
    const prefix = ['unshare', '--mount', '--propagation', 'private', 'sh', '-c', script, 'sh']
    const error = {
      code: 5,
      msg: 'the standalone program can not be found: ENOENT',
      details: '/proc/self/exe says where it lies; is /proc mounted?',
    }
    expect(errorOf(await it.run({ prefix }))).toMatchObject(error)
    // A daemon could not be told in which namespace it is asked.
    const daemon = it.daemon()
    const running = it.run({ prefix })
    const peer = await daemon.greeted()
    expect(await peer.bytes(1)).toHaveLength(0)
    expect(errorOf(await running)).toMatchObject(error)
  })
})

describe('under strace', () => {
  const [, , file] = builds[0]!
  beforeAll(() => built([]), 120_000)

  /** A DEL whose daemon dies, in a kernel that refuses `calls`. */
  const refused = async (calls: readonly string[], input?: string) => {
    const it = new Launched(file)
    const daemon = it.daemon()
    const injected = calls.flatMap((call) => ['-e', `inject=${call}`])
    const prefix = ['bash', '-c', 'exec 5</etc/passwd; exec "$@"', 'bash', 'strace', '-q', '-o', '/dev/null']
    const running = it.run({
      prefix: [...prefix, ...injected],
      env: it.env({ CNI_COMMAND: 'DEL' }),
      ...(input !== undefined && { input }),
    })
    const peer = await daemon.greeted()
    await peer.request()
    peer.close()
    return { it, finished: await running }
  }

  test('a pipe where there are no files in memory', async () => {
    const input = JSON.stringify('x'.repeat(500_000))
    const { it } = await refused(['memfd_create:error=ENOSYS'], input)
    expect(it.record('DEL')?.stdin).toBe(input)
    expect(it.record('DEL')?.descriptors[0]).toMatch(/^0 pipe:/)
  })

  test('input for which there is neither', async () => {
    const { finished } = await refused(['memfd_create:error=ENOSYS', 'pipe2:error=EMFILE'])
    expect(errorOf(finished)).toMatchObject({ code: 5, msg: 'error passing on stdin: EMFILE' })
  })

  test('input that no pipe holds', async () => {
    const refusing = ['memfd_create:error=ENOSYS', 'fcntl:error=EPERM:when=1']
    const { finished } = await refused(refusing, JSON.stringify('x'.repeat(100_000)))
    expect(errorOf(finished)).toMatchObject({ code: 5, msg: 'error passing on stdin: EPERM' })
    const { it } = await refused(refusing)
    expect(it.record('DEL')?.stdin).toBe('{"cniVersion":"1.0.0"}')
  })

  test('descriptors are closed one by one where close_range(2) is unknown', async () => {
    const { it } = await refused(['close_range:error=ENOSYS'])
    expect(it.record('DEL')?.descriptors.map((line) => line.split(' ')[0])).toEqual(['0', '1', '2'])
  })

  test('no signalfd: the daemon serves all the same', async () => {
    const { it } = await refused(['signalfd4:error=ENOSYS'])
    expect(it.record('DEL')?.arguments).toEqual(['bridge'])
  })

  test('no memory: the standalone program, or an error', async () => {
    const it = new Launched(file)
    it.daemon()
    const prefix = ['strace', '-q', '-o', '/dev/null', '-e', 'inject=mmap:error=ENOMEM:when=1']
    const until = Promise.resolve()
    // More than it has from the start.
    const input = ' '.repeat(1024)
    expect(errorOf(await it.run({ prefix, until, input }))).toMatchObject({
      code: 5,
      msg: 'error reading from stdin: ENOMEM',
    })
    const env = it.env({ CNI_COMMAND: 'VERSION', LARGE: 'x'.repeat(4096) })
    expect((await it.run({ prefix, until, env })).stdout).toBe('standalone VERSION\n')
  })
})

test('the launcher needs nothing, and is small', () => {
  built([])
  const [, , file] = builds[0]!
  const bytes = readFileSync(file)
  expect(bytes.length).toBeLessThan(100_000)
  const { stdout } = spawnSync('readelf', ['-lW', file], { encoding: 'utf8' })
  expect(stdout).not.toMatch(/INTERP/)
  expect(stdout).not.toMatch(/RWE/)
})
