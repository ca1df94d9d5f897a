import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { AnyPlugin } from '../../../cni/plugin.ts'
import { serve } from '../../../cni/serve.ts'
import { allVersions } from '../../../cni/types.ts'
import { type FakeOptions, fakePlugin, hostWith } from './fake.ts'

const environment = {
  CNI_COMMAND: 'ADD',
  CNI_CONTAINERID: 'cid-1',
  CNI_NETNS: '/nowhere/netns',
  CNI_IFNAME: 'eth0',
  CNI_PATH: '/nowhere/bin',
}
const conf = { cniVersion: '1.0.0', name: 'net', type: 'fake' }

interface Answer {
  readonly status: number
  readonly stdout: string
  readonly stderr: string
  readonly journal: readonly string[]
}

const ask = async (
  env: Record<string, string | undefined>,
  stdin: unknown = conf,
  options: FakeOptions = {},
  more: Partial<Parameters<typeof serve>[0]> = {},
): Promise<Answer> => {
  const plugin = fakePlugin(options)
  let stdout = ''
  const { status, stderr } = await serve({
    plugin: plugin as AnyPlugin,
    environment: { ...environment, ...env },
    stdin: () => (typeof stdin === 'string' ? stdin : JSON.stringify(stdin)),
    write: (text) => {
      stdout += text
    },
    about: 'CNI fake plugin v1',
    host: hostWith(plugin),
    ...more,
  })
  return { status, stdout, stderr, journal: plugin.journal }
}

describe('the protocol as text', () => {
  it('prints the result with four spaces and no newline', async () => {
    const { status, stdout, stderr } = await ask({}, { ...conf, cniVersion: '0.2.0' })
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' })
    expect(stdout).toBe(`{
    "cniVersion": "0.2.0",
    "ip4": {
        "ip": "10.1.0.2/16",
        "gateway": "10.1.0.1",
        "routes": [
            {
                "dst": "0.0.0.0/0"
            }
        ]
    },
    "dns": {}
}`)
  })

  it('answers VERSION without reading its input', async () => {
    const { status, stdout } = await ask(
      { CNI_COMMAND: 'VERSION', CNI_PATH: '' },
      conf,
      {},
      {
        stdin: () => {
          throw new Error('read')
        },
      },
    )
    expect(status).toBe(0)
    expect(stdout).toBe(`{"cniVersion":"1.1.0","supportedVersions":${JSON.stringify(allVersions)}}\n`)
  })

  it('says what it is when nothing is asked', async () => {
    const answer = await ask({ CNI_COMMAND: '' })
    expect(answer).toEqual({
      status: 0,
      stdout: '',
      stderr:
        'CNI fake plugin v1\nCNI protocol versions supported: 0.1.0, 0.2.0, 0.3.0, 0.3.1, 0.4.0, 1.0.0, 1.1.0\n',
      journal: [],
    })
  })

  it.each(['DEL', 'CHECK', 'STATUS', 'GC'])('prints nothing for %s', async (command) => {
    const answer = await ask({ CNI_COMMAND: command }, { ...conf, cniVersion: '1.1.0' })
    expect(answer).toMatchObject({ status: 0, stdout: '', stderr: '' })
  })

  it.each<[string, Record<string, string>, unknown, number, string]>([
    ['input that is empty', {}, '', 6, 'error unmarshall network config: unexpected end of JSON input'],
    ['input that is an array', {}, '[]', 6, 'error unmarshall network config: expected object, got array'],
    ['input that is a text', {}, '"x"', 6, 'error unmarshall network config: expected object, got string'],
    ['input that is null', {}, 'null', 7, 'missing network name'],
    ['no name', {}, {}, 7, 'missing network name'],
    [
      'a name that is a number',
      {},
      { name: 5 },
      6,
      'error unmarshall network config: name: expected string, got number',
    ],
    ['a name that climbs', {}, { name: '../x' }, 7, 'invalid characters found in network name'],
    ['an unknown command with a good input', { CNI_COMMAND: 'NOPE' }, conf, 4, 'unknown CNI_COMMAND: NOPE'],
    ['an unknown command with a bad input', { CNI_COMMAND: 'NOPE' }, {}, 7, 'missing network name'],
    [
      'a version that is a number',
      {},
      { ...conf, cniVersion: 1 },
      6,
      'decoding version from network config: cniVersion: expected string, got number',
    ],
    ['a version from the future', {}, { ...conf, cniVersion: '9.9.9' }, 1, 'incompatible CNI versions'],
    [
      'a bad key',
      {},
      { ...conf, mtu: 'x' },
      7,
      'failed to load netconf: fake.mtu: expected integer, got string "x"',
    ],
    [
      'a bad prevResult',
      {},
      { ...conf, prevResult: { cniVersion: '0.2.0' } },
      7,
      'could not parse prevResult: result type supports [1.0.0 1.1.0] but unmarshalled CNIVersion is "0.2.0"',
    ],
    ['missing variables', { CNI_IFNAME: '' }, conf, 4, 'required env variables [CNI_IFNAME] missing'],
    [
      'a CHECK too early',
      { CNI_COMMAND: 'CHECK' },
      { ...conf, cniVersion: '0.3.1' },
      1,
      'config version does not allow CHECK',
    ],
  ])('%s', async (_, env, stdin, code, msg) => {
    const { status, stdout, journal } = await ask(env, stdin)
    expect(status).toBe(1)
    expect(JSON.parse(stdout)).toMatchObject({ code, msg })
    expect(journal).toEqual([])
  })

  it.each(['{', '{"name":"n"} x', '{"name":"n",}', '\ufeff{"name":"n"}', '{"name":"n"}\0'])(
    'garbage %j is a decoding failure',
    async (stdin) => {
      const { stdout } = await ask({}, stdin)
      expect(JSON.parse(stdout)).toMatchObject({ code: 6 })
    },
  )

  it('survives JSON that is nested without end', async () => {
    const deep = '['.repeat(200_000) + ']'.repeat(200_000)
    const { stdout } = await ask({}, `{"name":"n","cniVersion":"1.0.0","x":${deep},"args":{"cni":${deep}}}`)
    expect(JSON.parse(stdout)).toMatchObject({ code: 7 })
  })

  it('answers whatever comes with JSON or nothing, and always undoes what failed', async () => {
    const value = fc.oneof(fc.jsonValue(), fc.constantFrom('1.0.0', '0.2.0', 'net', '10.0.0.1/8', ''))
    const keys = ['cniVersion', 'NAME', 'type', 'ipam', 'dns', 'prevResult', 'mtu', 'args', 'runtimeConfig']
    const mostly = { cniVersion: '1.1.0', name: 'net', type: 'fake', 'cni.dev/valid-attachments': [] }
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom('ADD', 'DEL', 'CHECK', 'GC', 'STATUS'),
        fc.dictionary(fc.constantFrom(...keys), value, { maxKeys: 3 }),
        fc.string(),
        async (command, changes, args) => {
          const answer = await ask({ CNI_COMMAND: command, CNI_ARGS: args }, { ...mostly, ...changes })
          expect(answer.stderr).toBe('')
          if (answer.status === 1) {
            expect(JSON.parse(answer.stdout)).toMatchObject({
              code: expect.any(Number),
              msg: expect.any(String),
            })
            expect(answer.journal.filter((line) => line === 'fake ADD')).toHaveLength(
              answer.journal.filter((line) => line === 'fake undo').length,
            )
          } else if (command === 'ADD') expect(JSON.parse(answer.stdout)).toHaveProperty('cniVersion')
          else expect(answer.stdout).toBe('')
          if (command === 'DEL' && changes.cniVersion === undefined && changes.NAME === undefined)
            expect(answer.status).toBe(0)
        },
      ),
      { numRuns: 300 },
    )
  })

  it('names the version of the configuration in errors, where it is one', async () => {
    const broken = { add: () => Promise.reject(new Error('no')) }
    expect(JSON.parse((await ask({}, { ...conf, cniVersion: '0.3.1' }, broken)).stdout)).toEqual({
      cniVersion: '0.3.1',
      code: 999,
      msg: 'no',
    })
    expect(JSON.parse((await ask({}, { ...conf, cniVersion: '7' })).stdout)).toMatchObject({
      cniVersion: '1.1.0',
    })
  })

  it('reports an input that can not be read', async () => {
    const { stdout } = await ask({}, conf, {}, { stdin: () => Promise.reject(new Error('EIO: i/o error')) })
    expect(JSON.parse(stdout)).toMatchObject({ code: 5, msg: 'error reading from stdin: EIO: i/o error' })
  })

  it('takes an ADD back whose result can not be written', async () => {
    let writes = 0
    const answer = await ask(
      {},
      conf,
      {},
      {
        write: () => {
          writes++
          throw new Error('EPIPE: broken pipe')
        },
      },
    )
    expect(answer.status).toBe(1)
    expect(writes).toBe(2)
    expect(answer.journal).toEqual(['fake ADD', 'fake undo'])
    expect(answer.stderr).toContain('"code": 5')
    expect(answer.stderr).toContain('"msg": "error writing the result to stdout: EPIPE: broken pipe"')
  })

  it('takes an ADD back that is stopped just before it is declared a success', async () => {
    const controller = new AbortController()
    const answer = await ask(
      {},
      conf,
      {},
      {
        signal: controller.signal,
        beforeSuccess: async () => controller.abort(new Error('SIGTERM')),
      },
    )
    expect(answer.status).toBe(1)
    expect(JSON.parse(answer.stdout)).toMatchObject({ code: 999, msg: 'SIGTERM' })
    expect(answer.journal).toEqual(['fake ADD', 'fake undo'])
  })
})
