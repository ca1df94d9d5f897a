import { describe, expect, test } from 'vitest'
import { files, linesWith, read, root } from './sources.ts'

/** A file is read in one sitting. */
const MAX_LINES = 350
/** Those that are longer, and why. */
const longer: Readonly<Record<string, string>> = {}

const isCode = (path: string): boolean => /\.(ts|mjs|cjs|cc|h|c)$/.test(path)

describe('files', () => {
  test('can be read in one sitting', () => {
    const long = files
      .filter((path) => isCode(path) && !path.startsWith('test/') && !Object.hasOwn(longer, path))
      .map((path) => ({ path, lines: read(path).split('\n').length - 1 }))
      .filter(({ lines }) => lines > MAX_LINES)
    expect(long).toEqual([])
  })

  test('are named in kebab case', () => {
    const pattern = /^[a-z0-9]+(-[a-z0-9]+)*(\.[a-z]+)*\.(ts|mjs|cjs|cc|h|c|inc)$/
    expect(
      files.filter((path) => isCode(path) && !pattern.test(path.slice(path.lastIndexOf('/') + 1))),
    ).toEqual([])
  })

  test('hold nothing unfinished', () => {
    // In pieces, so that this file does not find itself.
    const pattern = new RegExp(['TO', 'DO|FIX', 'ME|\\bX', 'XX\\b'].join(''))
    const found = files.filter(isCode).flatMap((path) =>
      read(path)
        .split('\n')
        .flatMap((line, i) => (pattern.test(line) ? [`${path}:${i + 1}: ${line.trim()}`] : [])),
    )
    expect(found).toEqual([])
  })

  test('name no place on the machine they were written on', () => {
    expect(root.length).toBeGreaterThan(4)
    const found = files
      .filter((path) => /\.(md|json|yaml|yml|sh|conf|conflist)$/.test(path) || isCode(path))
      .filter((path) => read(path).includes(`${root}/`))
    expect(found).toEqual([])
  })
})

describe('tests', () => {
  const tests = files.filter((path) => path.endsWith('.test.ts'))

  test('none is left out, none runs alone', () => {
    expect(tests.length).toBeGreaterThan(20)
    const pattern = /\b(test|it|describe|suite)(\.\w+)*\.(only|skip|todo|fails)\b/
    expect(tests.flatMap((path) => linesWith(path, pattern))).toEqual([])
  })

  test('none sleeps for a fixed time', () => {
    const pattern = /await (sleep|pause|setTimeout|delay)\(\s*\d/
    expect(tests.flatMap((path) => linesWith(path, pattern))).toEqual([])
  })
})

describe('package-lock.json', () => {
  test('names no registry', () => {
    expect(read('package-lock.json').match(/"resolved": *"https?:[^"]*"/g)).toBeNull()
  })

  test('is complete: npm ci refuses one that lacks an optional package of another platform', () => {
    const { packages } = JSON.parse(read('package-lock.json')) as {
      packages: Record<string, { optionalDependencies?: Record<string, string> }>
    }
    const missing = Object.entries(packages).flatMap(([path, { optionalDependencies }]) =>
      Object.keys(optionalDependencies ?? {})
        .filter((name) => !packages[`node_modules/${name}`] && !packages[`${path}/node_modules/${name}`])
        .map((name) => `${path}: ${name}`),
    )
    expect(missing).toEqual([])
  })

  test('has no package that runs a script when it is installed, but those that work without', () => {
    const { packages } = JSON.parse(read('package-lock.json')) as {
      packages: Record<string, { hasInstallScript?: boolean }>
    }
    const scripted = Object.entries(packages).filter(([, { hasInstallScript }]) => hasInstallScript)
    // esbuild's only replaces a wrapper by the program; fsevents is for another system.
    const fine = ['node_modules/esbuild', 'node_modules/fsevents']
    expect(scripted.map(([path]) => path).filter((path) => !fine.includes(path))).toEqual([])
  })
})
