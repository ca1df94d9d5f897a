import { closeSync, mkdirSync, openSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { findPlugin } from '../../../cni/delegate.ts'
import { type Action, dispatch, type Invocation } from '../../../cni/dispatch.ts'
import { CniError } from '../../../cni/error.ts'
import { createExec } from '../../../cni/spawn.ts'
import type { JsonObject } from '../../../cni/types.ts'
import { Netns } from '../../../netlink/netns.ts'
import { fakePlugin, hostWith, invocation, memoryLog } from './fake.ts'
import { type Behaviour, ForeignPlugin, temporaryDirectory } from './foreign.ts'

const errorOf = async (promise: Promise<unknown>): Promise<CniError> => {
  try {
    await promise
  } catch (error) {
    if (error instanceof CniError) return error
    throw error
  }
  throw new Error('it succeeded')
}

const result = JSON.stringify({ cniVersion: '1.0.0', ips: [{ address: '10.7.0.2/24' }] })

/** An interface plugin that hands everything on to an IPAM plugin that is executed. */
const setUp = (behaviour: Behaviour = { stdout: result }) => {
  const foreign = new ForeignPlugin('whereabouts', behaviour)
  const plugin = fakePlugin({
    add: async ({ ipam }) => (await ipam?.add()) ?? {},
    del: async ({ ipam }) => ipam?.del(),
  })
  const log = memoryLog()
  const run = (verb: Action, conf: JsonObject = {}, more: Partial<Invocation> = {}) =>
    dispatch(
      plugin,
      invocation(
        verb,
        { cniVersion: '1.0.0', ipam: { type: 'whereabouts' }, ...conf },
        {
          path: `/nowhere:${foreign.directory}`,
          ...more,
        },
      ),
      {
        ...hostWith(plugin),
        log,
        environment: { PATH: process.env.PATH ?? '', TRACEPARENT: '00-1', CNI_X: 'y' },
      },
    )
  return { foreign, plugin, log, run }
}

describe('an IPAM plugin that is not ours', () => {
  it('is executed with the environment, the other verb and the same input', async () => {
    const { foreign, run } = setUp()
    const stdin = '{ "cniVersion":"1.0.0","name":"net","ipam":{"type":"whereabouts","x":1.0} }\n'
    const more = { stdin, args: 'a=b', netnsOverride: true }
    const added = await run('ADD', {}, more)
    expect(added?.result).toEqual({ ips: [{ address: '10.7.0.2/24' }] })
    const [execution] = foreign.executions
    expect(execution?.stdin).toBe(stdin)
    expect(execution?.env).toMatchObject({
      CNI_COMMAND: 'ADD',
      CNI_CONTAINERID: 'cid-1',
      CNI_NETNS: '/nowhere/netns',
      CNI_IFNAME: 'eth0',
      CNI_ARGS: 'a=b',
      CNI_PATH: `/nowhere:${foreign.directory}`,
      CNI_NETNS_OVERRIDE: '1',
      TRACEPARENT: '00-1',
      CNI_X: 'y',
    })
    await run('DEL')
    expect(foreign.verbs).toEqual(['ADD', 'DEL'])
  })

  it('gets a DEL when its ADD fails', async () => {
    const { foreign, run } = setUp({
      stdout: '{"code":11,"msg":"pool is busy","details":"wait"}',
      verbs: { DEL: 'exit 0' },
      status: 1,
    })
    expect(await errorOf(run('ADD'))).toMatchObject({ code: 11, msg: 'pool is busy', details: 'wait' })
    expect(foreign.verbs).toEqual(['ADD', 'DEL'])
  })

  it('gets a DEL when something after it fails', async () => {
    const { foreign, run } = setUp({ stdout: '{"cniVersion":"1.0.0"}' })
    expect((await errorOf(run('ADD', { cniVersion: '0.2.0' }))).msg).toBe(
      'cannot convert: no valid IP addresses',
    )
    expect(foreign.verbs).toEqual(['ADD', 'DEL'])
  })

  it('says so when that DEL fails, too', async () => {
    const { run } = setUp({ stderr: 'broken', status: 2 })
    expect(await errorOf(run('ADD'))).toMatchObject({
      code: 999,
      msg: 'netplugin failed: "broken"',
      details: 'could not be undone: DEL of the plugin whereabouts: netplugin failed: "broken"',
    })
  })

  it.each<[string, Behaviour, string]>([
    ['nothing', { status: 3 }, 'netplugin failed with no error message: exit status 3'],
    ['words', { stderr: 'panic: "x"\n', status: 2 }, 'netplugin failed: "panic: \\"x\\"\\n"'],
    [
      'no JSON',
      { stdout: 'oops', status: 1 },
      'netplugin failed but error parsing its diagnostic message "oops": ',
    ],
    [
      'a list',
      { stdout: '[1]', status: 1 },
      'netplugin failed but error parsing its diagnostic message "[1]": expected an object',
    ],
    [
      'texts for numbers',
      { stdout: '{"code":"7","msg":"x"}', status: 1 },
      'netplugin failed but error parsing its diagnostic message ',
    ],
    [
      'success without output',
      { stdout: '' },
      'failed to unmarshal raw result: Unexpected end of JSON input',
    ],
    ['success with words', { stdout: 'fine' }, 'failed to unmarshal raw result: '],
    ['success with a list', { stdout: '[]' }, 'failed to unmarshal raw result: expected an object'],
    [
      'an address that is none',
      { stdout: '{"cniVersion":"1.0.0","ips":[{"address":"10.0.0.1"}]}' },
      'failed to unmarshal raw result: result.ips[0].address: expected IP address with a prefix length',
    ],
    [
      'a version that is none',
      { stdout: '{"cniVersion":"3.0.0"}' },
      'failed to unmarshal raw result: unsupported CNI result version "3.0.0"',
    ],
  ])('that fails with %s', async (_, behaviour, msg) => {
    const { run } = setUp(behaviour)
    const error = await errorOf(run('ADD'))
    expect(error.code).toBe(999)
    expect(error.msg).toContain(msg)
  })

  it('has its code, message and details in any case, and 999 for code 0', async () => {
    const { run } = setUp({ stdout: '{"Code":0,"MSG":"m","Details":5}', status: 1 })
    expect(await errorOf(run('DEL'))).toMatchObject({ code: 999, msg: 'm', details: undefined })
  })

  it.each([
    ['null', {}],
    ['{}', {}],
    ['{"ip4":{"ip":"10.0.0.9/8"}}', { ips: [{ address: '10.0.0.9/8' }] }, '0.2.0'],
    ['{"cniVersion":"","ips":[{"address":"10.0.0.9/8"}]}', { ips: [{ address: '10.0.0.9/8' }] }],
    ['{"cniVersion":"0.2.0","ip4":{"ip":"10.0.0.9/8"}}', { ips: [{ address: '10.0.0.9/8' }] }],
  ])('that prints %s', async (stdout, expected, cniVersion = '1.0.0') => {
    const { run } = setUp({ stdout })
    expect((await run('ADD', { cniVersion }))?.result).toMatchObject(expected)
  })

  it('has its warnings passed on when it succeeds', async () => {
    const { run, log } = setUp({ stdout: result, stderr: 'look out\n' })
    await run('ADD')
    expect(log.lines).toEqual(['a plugin that was executed has something to say | look out'])
  })

  it('is looked for before anything is touched', async () => {
    const { plugin, run } = setUp()
    const error = await errorOf(run('ADD', {}, { path: '/nowhere:/nowhere/too' }))
    expect(error).toMatchObject({
      code: 999,
      msg: 'failed to find plugin "whereabouts" in path [/nowhere /nowhere/too]',
    })
    expect(plugin.journal).toEqual(['fake ADD', 'fake undo'])
  })

  it('is waited for while its file is being written, and no longer', async () => {
    const { foreign, run } = setUp()
    const fd = openSync(foreign.file, 'r+')
    const running = run('ADD')
    setTimeout(() => closeSync(fd), 100)
    expect((await running)?.result).toEqual({ ips: [{ address: '10.7.0.2/24' }] })
    expect(foreign.verbs).toEqual(['ADD'])
  })
})

describe('finding a plugin', () => {
  it.each([
    ['', '/x', 'no plugin name provided'],
    ['a/b', '/x', 'invalid plugin name: a/b'],
    ['../sh', '/bin', 'invalid plugin name: ../sh'],
    ['x', '', 'no paths provided'],
    ['x', ':', 'no paths provided'],
    ['..', '/usr/bin', 'failed to find plugin ".." in path [/usr/bin]'],
  ])('%j in %j', (type, path, msg) => {
    expect(() => findPlugin(type, path)).toThrow(expect.objectContaining({ code: 999, msg }))
  })

  it('takes the first regular file, executable or not', () => {
    const [a, b] = [temporaryDirectory(), temporaryDirectory()]
    mkdirSync(join(a, 'x'))
    writeFileSync(join(b, 'x'), '')
    expect(findPlugin('x', `${a}:/nowhere:${b}/`)).toBe(join(b, 'x'))
  })
})

describe('running programs', () => {
  const exec = createExec({
    hostNetns: Netns.current(),
    environment: { PATH: `/nowhere:${process.env.PATH}`, A: '1' },
    busyTimeout: 100,
  })

  it('gives input, output, status and environment', async () => {
    const script = 'cat; echo "$A $LC_ALL" >&2; exit 7'
    expect(await exec('sh', ['-c', script], { input: 'in' })).toEqual({
      status: 7,
      stdout: 'in',
      stderr: '1 C\n',
    })
    expect((await exec('sh', ['-c', 'echo $A'], { env: { A: '2', PATH: '' } })).stdout).toBe('2\n')
  })

  it('tells the signal by the status', async () => {
    expect((await exec('sh', ['-c', 'kill -9 $$'])).status).toBe(137)
  })

  it('knows when there is no such program', async () => {
    await expect(exec('no-such-program', [])).rejects.toMatchObject({ code: 'ENOENT' })
    await expect(exec('/nowhere/program', [])).rejects.toMatchObject({ code: 'ENOENT' })
    await expect(exec('/etc/passwd', [])).rejects.toMatchObject({ code: 'EACCES' })
  })

  it('uses no shell', async () => {
    expect((await exec('echo', ['$A; id', '`id`'])).stdout).toBe('$A; id `id`\n')
  })

  it('ends what takes too long, with all it has started', async () => {
    const start = performance.now()
    const script = 'sleep 60 & sleep 60'
    await expect(exec('sh', ['-c', script], { timeout: 50 })).rejects.toMatchObject({ code: 'ETIMEDOUT' })
    expect(performance.now() - start).toBeLessThan(5_000)
  })

  it('ends what does not want to end', async () => {
    const script = "trap '' TERM; while :; do sleep 1; done"
    await expect(exec('sh', ['-c', script], { timeout: 50 })).rejects.toMatchObject({ code: 'ETIMEDOUT' })
  })

  it('ends what writes without end', async () => {
    await expect(exec('yes', [])).rejects.toMatchObject({ code: 'EMSGSIZE' })
  })

  it('does not mind a program that reads nothing', async () => {
    expect((await exec('true', [], { input: 'x'.repeat(1 << 20) })).status).toBe(0)
  })

  it('gives up on a file that stays open for writing', async () => {
    const { file } = new ForeignPlugin('busy')
    const fd = openSync(file, 'r+')
    await expect(exec(file, [])).rejects.toMatchObject({ code: 'ETXTBSY' })
    closeSync(fd)
  })
})
