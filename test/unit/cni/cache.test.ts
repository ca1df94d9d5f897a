import {
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import {
  type CacheEntry,
  listCache,
  mayBeOf,
  printCacheEntry,
  readCachedResult,
  removeCache,
  writeCache,
} from '../../../cni/cache.ts'
import { must } from '../../support/program.ts'
import { temporaryDirectory } from './foreign.ts'

/** Written by cnitool 1.3.0. */
const golden =
  '{"kind":"cniCacheV1","containerId":"cnitool-55e2cecc95014b0f7fc4","config":"eyAiY25pVmVyc2lvbiI6ICIwLjQuMCIsICJuYW1lIjogIm15LW5ldCIsICJ4IjogIjwmPiIsCiAgInBsdWdpbnMiOiBbIHsidHlwZSI6ImZha2UiLCJjYXBhYmlsaXRpZXMiOnsicG9ydE1hcHBpbmdzIjp0cnVlLCJiIjpmYWxzZX19IF0gfQo=","ifName":"eth0","networkName":"my-net","netns":"/run/netns/x","cniArgs":[["B","2"],["A","1"]],"capabilityArgs":{"a":1,"portMappings":[{"hostPort":80}]},"result":{"cniVersion":"0.4.0","dns":{"domain":"\\u003ca\\u003e"},"interfaces":[{"mac":"02:00:00:00:00:01","name":"eth0","sandbox":"/x"}],"ips":[{"address":"10.0.0.2/24","gateway":"10.0.0.1","interface":0,"version":"4"}],"routes":[{"dst":"0.0.0.0/0","gw":"10.0.0.1"}]}}'

const entry: CacheEntry = {
  containerId: 'cnitool-55e2cecc95014b0f7fc4',
  ifName: 'eth0',
  network: 'my-net',
  config:
    '{ "cniVersion": "0.4.0", "name": "my-net", "x": "<&>",\n  "plugins": [ {"type":"fake","capabilities":{"portMappings":true,"b":false}} ] }\n',
  netnsPath: '/run/netns/x',
  args: 'B=2;A=1',
  capabilityArgs: { portMappings: [{ hostPort: 80 }], a: 1 },
  result: {
    cniVersion: '0.4.0',
    interfaces: [{ name: 'eth0', mac: '02:00:00:00:00:01', sandbox: '/x' }],
    ips: [{ version: '4', interface: 0, address: '10.0.0.2/24', gateway: '10.0.0.1' }],
    routes: [{ dst: '0.0.0.0/0', gw: '10.0.0.1' }],
    dns: { domain: '<a>' },
  },
}
const file = 'my-net-cnitool-55e2cecc95014b0f7fc4-eth0'

describe('the cache', () => {
  it('is printed as libcni prints it, byte for byte', () => {
    expect(printCacheEntry(entry)).toBe(golden)
  })

  it('leaves out what is empty', () => {
    const bare = { ...entry, netnsPath: '', args: '', capabilityArgs: {}, result: null, config: '' }
    expect(printCacheEntry(bare)).toBe(
      '{"kind":"cniCacheV1","containerId":"cnitool-55e2cecc95014b0f7fc4","config":"","ifName":"eth0","networkName":"my-net"}',
    )
  })

  it('is written where libcni looks for it, with its modes, and nothing else is left', () => {
    const directory = join(temporaryDirectory(), 'cni')
    writeCache(directory, entry)
    writeCache(directory, entry)
    expect(readFileSync(join(directory, 'results', file), 'utf8')).toBe(golden)
    expect(statSync(join(directory, 'results')).mode & 0o777).toBe(0o700)
    expect(statSync(join(directory, 'results', file)).mode & 0o777).toBe(0o600)
    expect(readdirSync(directory)).toEqual(['results'])
    removeCache(directory, entry)
    removeCache(directory, entry)
    expect(readdirSync(join(directory, 'results'))).toEqual([])
  })

  it.each([243, 244, 255])('may have a name of %d bytes', (length) => {
    const directory = temporaryDirectory()
    const rest = `-${entry.containerId}-${entry.ifName}`
    const long = { ...entry, network: 'n'.repeat(length - rest.length) }
    writeCache(directory, long)
    expect(readdirSync(directory)).toEqual(['results'])
    expect(readdirSync(join(directory, 'results'))).toEqual([long.network + rest])
    removeCache(directory, long)
    expect(readdirSync(join(directory, 'results'))).toEqual([])
  })

  it('leaves nothing behind when it can not be written', () => {
    const directory = temporaryDirectory()
    mkdirSync(join(directory, 'results', file), { recursive: true })
    expect(() => writeCache(directory, entry)).toThrow('EISDIR')
    expect(readdirSync(directory)).toEqual(['results'])
  })

  const withFile = (text: string) => {
    const directory = temporaryDirectory()
    mkdirSync(join(directory, 'results'))
    writeFileSync(join(directory, 'results', file), text)
    return directory
  }

  it('gives the result of what libcni has written', () => {
    expect(readCachedResult(withFile(golden), entry)).toMatchObject({
      ips: [{ address: '10.0.0.2/24', gateway: '10.0.0.1', interface: 0 }],
    })
  })

  it('reads the bare results of old times', () => {
    const bare = '{"ip4":{"ip":"10.0.0.2/24"}}'
    expect(readCachedResult(withFile(bare), entry)).toMatchObject({ ips: [{ address: '10.0.0.2/24' }] })
  })

  it.each([
    '',
    'x',
    '[]',
    '{"cniVersion":"9.0.0"}',
    golden.slice(0, 300),
    golden.replace('10.0.0.2/24', 'x'),
  ])('refuses a file with %j', (text) => {
    expect(() => readCachedResult(withFile(text), entry)).toThrow(expect.objectContaining({ code: 7 }))
  })

  it('gives nothing where nothing is', () => {
    expect(readCachedResult('/nowhere', entry)).toBeNull()
    expect(readCachedResult(withFile(golden.replace(/,"result".*/, '}')), entry)).toBeNull()
    expect(listCache('/nowhere')).toEqual({ entries: [], unreadable: [] })
  })

  it("does not take another attachment's result for ours, whose file has the same name", () => {
    const key = { network: 'my', containerId: 'net-cnitool-55e2cecc95014b0f7fc4', ifName: 'eth0' }
    expect(readCachedResult(withFile(golden), key)).toBeNull()
  })

  it('lists what can be read, and tells of the rest', () => {
    const directory = withFile(golden)
    for (const [name, text] of [
      ['a', 'x'],
      ['b', '{"kind":"other"}'],
      ['c', '{"kind":"cniCacheV1","containerId":"c"}'],
      [
        'd',
        '{"kind":"cniCacheV1","containerId":"c","ifName":"i","networkName":"n","cniArgs":[["a"],7],"config":5}',
      ],
    ] as const)
      writeFileSync(join(directory, 'results', name), text)
    mkdirSync(join(directory, 'results', 'e'))
    const nobody = 'it does not say which attachment it is of'
    const { entries, unreadable } = listCache(directory)
    expect(unreadable).toEqual(
      [
        ['a', 'it holds no JSON'],
        ['b', `${nobody}, as those of old releases of libcni`],
        ['c', nobody],
        ['e', 'it is no file'],
      ].map(([name = '', why]) => ({ path: join(directory, 'results', name), why })),
    )
    expect(entries).toEqual([
      {
        containerId: 'c',
        ifName: 'i',
        network: 'n',
        config: '',
        netnsPath: '',
        args: 'a=',
        capabilityArgs: {},
        result: null,
      },
      { ...entry, result: JSON.parse(JSON.stringify(entry.result)) },
    ])
  })

  it('is not stopped by what is no file, nor by one that is too large', async () => {
    const directory = withFile(golden)
    const at = (name: string): string => join(directory, 'results', name)
    await must('mkfifo', [at('fifo'), at('net-c-eth0')])
    writeFileSync(at('large'), '')
    truncateSync(at('large'), 1 << 30)
    symlinkSync('/dev/zero', at('zero'))
    const { entries, unreadable } = listCache(directory)
    expect(entries).toHaveLength(1)
    expect(unreadable).toEqual(
      [
        ['fifo', 'it is no file'],
        ['large', 'it has more than 4194304 bytes'],
        ['net-c-eth0', 'it is no file'],
        ['zero', 'it is no file'],
      ].map(([name = '', why]) => ({ path: at(name), why })),
    )
    const key = { network: 'net', containerId: 'c', ifName: 'eth0' }
    expect(() => readCachedResult(directory, key)).toThrow(expect.objectContaining({ code: 7 }))
  })

  it('passes over what is deleted while it is read, and does not pass over a directory that is none', () => {
    const directory = temporaryDirectory()
    mkdirSync(join(directory, 'results'))
    symlinkSync('nothing', join(directory, 'results', 'gone'))
    expect(listCache(directory)).toEqual({ entries: [], unreadable: [] })
    const file = join(directory, 'file')
    writeFileSync(file, '')
    expect(() => listCache(file)).toThrow('ENOTDIR')
  })

  it('tells by the name whose a file may be', () => {
    const of = (network: string, name: string) => mayBeOf(network, { path: `/results/${name}`, why: '' })
    expect(['a', 'a-b', 'b', 'a-b-c'].map((network) => of(network, 'a-b-c'))).toEqual([
      true,
      true,
      false,
      false,
    ])
  })
})
