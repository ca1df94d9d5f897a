import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { findNetwork, loadConfFile, parseConfList, parseSingleConf } from '../../../cni/conflist.ts'
import { temporaryDirectory } from './foreign.ts'

const list = (more: object = {}) =>
  JSON.stringify({ cniVersion: '1.0.0', name: 'net', plugins: [{ type: 'fake' }], ...more })

describe('a list', () => {
  it('is read, with its text and what is unknown', () => {
    const text = list({
      plugins: [{ type: 'fake', x: { y: 1 }, Capabilities: { a: true, b: false, c: null } }],
    })
    expect(parseConfList(text)).toEqual({
      name: 'net',
      cniVersion: '1.0.0',
      disableCheck: false,
      disableGC: false,
      plugins: [
        {
          type: 'fake',
          conf: { type: 'fake', x: { y: 1 }, Capabilities: { a: true, b: false, c: null } },
          capabilities: ['a'],
        },
      ],
      text,
    })
  })

  it.each([
    [{ cniVersion: undefined }, ''],
    [{ cniVersions: ['0.4.0', '1.1.0', '1.0.0'] }, '1.1.0'],
    [{ cniVersions: ['0.4.0', '9.0.0'] }, '1.0.0'],
    [{ cniVersion: undefined, cniVersions: ['0.3.1', '0.10.0'] }, '0.10.0'],
    [{ cniVersions: [] }, '1.0.0'],
    [{ cniVersion: '9.0.0', cniVersions: ['9.1.0'] }, '9.0.0'],
  ])('%j has version %j', (more, version) => {
    expect(parseConfList(list(more)).cniVersion).toBe(version)
  })

  it.each([
    [true, true],
    ['TRUE', true],
    ['false', false],
    [null, false],
  ])('disableCheck %j', (value, expected) => {
    expect(parseConfList(list({ disableCheck: value, disableGC: value }))).toMatchObject({
      disableCheck: expected,
      disableGC: expected,
    })
  })

  const prefix = 'error parsing configuration list: '
  it.each<[object | string, string]>([
    ['{', prefix],
    ['[]', `${prefix.replace(': ', '')}: expected object, got array`],
    [{ name: undefined }, `${prefix}no name`],
    [{ name: 5 }, `${prefix}invalid name type number`],
    [{ name: '../x' }, 'invalid characters found in network name'],
    [{ cniVersion: 1 }, `${prefix}invalid cniVersion type number`],
    [{ cniVersions: '1.0.0' }, `${prefix}invalid type for cniVersions: string`],
    [{ cniVersions: [1] }, `${prefix}invalid type for cniVersions index 0: number`],
    [{ cniVersions: ['x'] }, `${prefix}invalid cniVersions entry x`],
    [{ disableCheck: 1 }, `${prefix}invalid type number for disableCheck`],
    [{ disableGC: 'yes' }, `${prefix}invalid value "yes" for disableGC`],
    [{ plugins: {} }, `${prefix}invalid 'plugins' type object`],
    [{ plugins: [] }, `${prefix}no plugins in list`],
    [{ plugins: undefined }, 'no plugin configs found'],
    [
      { plugins: undefined, loadOnlyInlinedPlugins: true },
      `${prefix}\`loadOnlyInlinedPlugins\` is true, and no 'plugins' key`,
    ],
    [
      { plugins: [{ type: 'a' }, {}] },
      "failed to parse plugin config 1: error parsing configuration: missing 'type'",
    ],
    [
      { plugins: ['a'] },
      'failed to parse plugin config 0: error parsing configuration: expected object, got string',
    ],
    [
      { plugins: [{ type: 7 }] },
      'failed to parse plugin config 0: error parsing configuration: type: expected string, got number',
    ],
    [
      { plugins: [{ type: 'a', capabilities: { x: 1 } }] },
      'failed to parse plugin config 0: error parsing configuration: capabilities.x: expected boolean, got number',
    ],
  ])('%j is none', (more, msg) => {
    const text = typeof more === 'string' ? more : list(more)
    expect(() => parseConfList(text)).toThrow(
      expect.objectContaining({ code: 7, msg: expect.stringContaining(msg) }),
    )
  })
})

describe('a single configuration', () => {
  it('becomes a list of one, as libcni prints it', () => {
    const conf = '{ "type": "fake", "name": "net", "cniVersion": "0.4.0", "b": 1, "a": "<" }'
    expect(parseSingleConf(conf)).toMatchObject({
      name: 'net',
      cniVersion: '0.4.0',
      plugins: [{ type: 'fake', conf: { b: 1 } }],
      text: '{"cniVersion":"0.4.0","name":"net","plugins":[{"a":"\\u003c","b":1,"cniVersion":"0.4.0","name":"net","type":"fake"}]}',
    })
  })

  it.each([
    '{"name":"net"}',
    '{"type":"x"}',
    '{"type":"x","name":"a/b"}',
    '{"type":"x","name":"n","cniVersion":1}',
    '7',
  ])('%s is none', (text) => {
    expect(() => parseSingleConf(text)).toThrow(expect.objectContaining({ code: 7 }))
  })
})

describe('files', () => {
  const directoryWith = (files: Record<string, string>): string => {
    const directory = temporaryDirectory()
    for (const [name, text] of Object.entries(files)) {
      mkdirSync(join(directory, name, '..'), { recursive: true })
      writeFileSync(join(directory, name), text)
    }
    return directory
  }
  const types = (network: { plugins: readonly { type: string }[] }) => network.plugins.map(({ type }) => type)

  it('beside a list add plugins to it, in their order, but not to its text', () => {
    const text = list()
    const directory = directoryWith({
      'x.conflist': text,
      'net/20.conf': '{"type":"b"}',
      'net/10.conf': '{"type":"a"}',
      'net/30.json': '{"type":"c"}',
      'net/sub.conf/x': '',
    })
    const network = loadConfFile(join(directory, 'x.conflist'))
    expect(types(network)).toEqual(['fake', 'a', 'b'])
    expect(network.text).toBe(text)
  })

  it('add nothing where the list says so', () => {
    const directory = directoryWith({
      'x.conflist': list({ loadOnlyInlinedPlugins: 'true' }),
      'net/10.conf': '{"type":"a"}',
    })
    expect(types(loadConfFile(join(directory, 'x.conflist')))).toEqual(['fake'])
  })

  it('may be all there is', () => {
    const text = list({ plugins: undefined })
    const directory = directoryWith({ 'x.conflist': text, 'net/10.conf': '{"type":"a"}', 'y.conflist': text })
    expect(types(loadConfFile(join(directory, 'x.conflist')))).toEqual(['a'])
    expect(() => loadConfFile(join(directoryWith({ 'x.conflist': text }), 'x.conflist'))).toThrow(
      'no plugin configs found',
    )
  })

  it('are found by the name of the network, lists first', () => {
    const directory = directoryWith({
      '00.conf': '{"type":"single","name":"net"}',
      '10.conflist': list({ name: 'other' }),
      '20.conflist': list({ plugins: [{ type: 'first' }] }),
      '30.conflist': list({ plugins: [{ type: 'second' }] }),
      '40.json': '{"type":"json","name":"json"}',
      '50.txt': 'x',
    })
    expect(types(findNetwork(directory, 'net'))).toEqual(['first'])
    expect(types(findNetwork(directory, 'json'))).toEqual(['json'])
    expect(() => findNetwork(directory, 'nix')).toThrow(
      `no net configuration with name "nix" in ${directory}`,
    )
  })

  it('that are broken stand in the way only of what can not be found', () => {
    const directory = directoryWith({ '10.conflist': '{', '20.conflist': list() })
    expect(findNetwork(directory, 'net').name).toBe('net')
    expect(() => findNetwork(directory, 'nix')).toThrow('error parsing configuration list')
  })

  it('may be missing', () => {
    expect(() => findNetwork('/nowhere', 'net')).toThrow('no net configurations found in /nowhere')
    expect(() => loadConfFile('/nowhere/x.conf')).toThrow(
      expect.objectContaining({ code: 5, msg: expect.stringContaining('error reading /nowhere/x.conf') }),
    )
  })
})
