import { describe, expect, it } from 'vitest'
import { CniError } from '../../../cni/error.ts'
import { allVersions } from '../../../cni/types.ts'
import { allows, checkVersion, compareVersions, parseVersion, versionOf } from '../../../cni/version.ts'

const errorOf = (action: () => unknown): CniError => {
  try {
    action()
  } catch (error) {
    if (error instanceof CniError) return error
    throw error
  }
  throw new Error('it was accepted')
}

describe('versions', () => {
  it.each([
    ['', [0, 1, 0]],
    ['1', [1, 0, 0]],
    ['1.0', [1, 0, 0]],
    ['0.3.1', [0, 3, 1]],
    ['10.20.30', [10, 20, 30]],
  ])('%j', (text, parts) => {
    expect(parseVersion(text)).toEqual(parts)
  })

  it.each(['asdf', 'asdf.', '.1', '0.', '..', '1.2.3.4', '1.x', '1.2.', ' 1', '1e3', '0x1'])(
    '%j is none',
    (text) => {
      expect(errorOf(() => parseVersion(text)).code).toBe(6)
    },
  )

  it('are ordered by number', () => {
    expect([...allVersions, '0.10.0', '1.1.1'].sort(compareVersions)).toEqual([
      '0.1.0',
      '0.2.0',
      '0.3.0',
      '0.3.1',
      '0.4.0',
      '0.10.0',
      '1.0.0',
      '1.1.0',
      '1.1.1',
    ])
  })

  it.each([
    [{}, '0.1.0'],
    [{ cniVersion: '' }, '0.1.0'],
    [{ cniVersion: null }, '0.1.0'],
    [{ CNIVersion: '0.4.0' }, '0.4.0'],
    [{ cniVersion: 'x' }, 'x'],
  ])('of %j', (conf, version) => {
    expect(versionOf(conf)).toBe(version)
  })

  it('must be texts', () => {
    expect(errorOf(() => versionOf({ cniVersion: 1 }))).toMatchObject({
      code: 6,
      msg: 'decoding version from network config: cniVersion: expected string, got number',
    })
  })
})

describe('gates', () => {
  const pass = [...allVersions]
  it.each([
    ['ADD', pass],
    ['DEL', pass],
    ['CHECK', pass.slice(4)],
    ['GC', pass.slice(6)],
    ['STATUS', pass.slice(6)],
  ] as const)('%s', (verb, versions) => {
    for (const version of allVersions) {
      expect(allows(version, verb)).toBe(versions.includes(version))
      if (versions.includes(version)) expect(() => checkVersion(verb, version, allVersions)).not.toThrow()
      else
        expect(errorOf(() => checkVersion(verb, version, allVersions))).toMatchObject({
          code: 1,
          msg: `config version does not allow ${verb}`,
        })
    }
  })

  it.each(['ADD', 'DEL'] as const)('%s takes only what the plugin names', (verb) => {
    expect(errorOf(() => checkVersion(verb, '9.9.9', ['0.4.0', '1.0.0']))).toMatchObject({
      code: 1,
      msg: 'incompatible CNI versions',
      details: 'config is "9.9.9", plugin supports ["0.4.0" "1.0.0"]',
    })
    expect(errorOf(() => checkVersion(verb, '1.0', allVersions)).code).toBe(1)
  })

  it.each(['CHECK', 'GC', 'STATUS'] as const)('%s of a newer configuration', (verb) => {
    expect(errorOf(() => checkVersion(verb, '1.1.0', ['0.4.0', '1.0.0']))).toMatchObject({
      code: 1,
      msg: `plugin version does not allow ${verb}`,
    })
    expect(errorOf(() => checkVersion(verb, '9.9.9', allVersions)).msg).toBe(
      `plugin version does not allow ${verb}`,
    )
    expect(errorOf(() => checkVersion(verb, 'x.y', allVersions)).code).toBe(6)
  })

  it('CHECK of a version between those of the plugin', () => {
    expect(errorOf(() => checkVersion('CHECK', '0.9.0', allVersions))).toMatchObject({
      code: 1,
      msg: 'incompatible CNI versions',
    })
  })
})
