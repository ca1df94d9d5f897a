import { isBuiltin } from 'node:module'
import { dirname, join, normalize } from 'node:path'
import { describe, expect, test } from 'vitest'
import { code, files, importsOf, layers, linesWith, read, sources } from './sources.ts'

const layerOf = (path: string): string => path.split('/')[0]!
const rank = (path: string): number => layers.indexOf(layerOf(path))
const target = (path: string, specifier: string): string => normalize(join(dirname(path), specifier))

describe('imports', () => {
  test('there are sources to look at', () => {
    expect(sources.length).toBeGreaterThan(100)
    expect(sources.flatMap(importsOf).length).toBeGreaterThan(400)
  })

  test('go one way through the layers', () => {
    const upward = sources
      .filter((path) => path !== 'index.ts')
      .flatMap((path) =>
        importsOf(path)
          .filter(({ specifier }) => specifier.startsWith('.'))
          .map(({ specifier }) => target(path, specifier))
          .filter((imported) => rank(imported) > rank(path) || rank(imported) < 0)
          .map((imported) => `${path} imports ${imported}`),
      )
    expect(upward).toEqual([])
  })

  test('index.ts is the library: neither the daemon nor the command line', () => {
    const imported = importsOf('index.ts').map(({ specifier }) => rank(target('index.ts', specifier)))
    expect(imported.length).toBeGreaterThan(0)
    expect(imported.filter((at) => at < 0 || at >= layers.indexOf('daemon'))).toEqual([])
  })

  test('of the daemon are made by the command line alone', () => {
    const users = sources.filter((path) =>
      importsOf(path).some(
        ({ specifier }) => /^\.\.?\//.test(specifier) && layerOf(target(path, specifier)) === 'daemon',
      ),
    )
    expect([...new Set(users.map(layerOf))].sort()).toEqual(['cli', 'daemon'])
  })

  // What is sold does not import what makes, measures or tests it: that is the test of the layers.
  test.each([
    ['scripts', ['scripts']],
    ['bench', ['bench', ...layers]],
  ])('of %s stay out of the tests', (folder, allowed) => {
    const own = files.filter((path) => layerOf(path) === folder && /\.(ts|mjs|cjs)$/.test(path))
    const edges = own.flatMap((path) =>
      importsOf(path)
        .filter(({ specifier }) => specifier.startsWith('.'))
        .map(({ specifier }) => [path, target(path, specifier)] as const),
    )
    expect(edges.length).toBeGreaterThan(20)
    const strangers = edges.filter(([, imported]) => !allowed.includes(layerOf(imported)))
    expect(strangers.map((edge) => edge.join(' imports '))).toEqual([])
  })

  test('are looked at wherever there is code', () => {
    const folders = files.filter((path) => /^\w+\/.*\.([cm]?[jt]s)$/.test(path)).map(layerOf)
    const known = [...layers, 'bench', 'scripts', 'test', 'examples']
    expect([...new Set(folders)].filter((folder) => !known.includes(folder))).toEqual([])
  })

  test('of plugins keep out of one another: what several need lies above their folders, or in shared/', () => {
    const homeOf = (path: string): string | undefined => {
      const [layer, folder, ...rest] = path.split('/')
      return ['ipam', 'plugins'].includes(layer!) && rest.length > 0 && folder !== 'shared'
        ? folder
        : undefined
    }
    const reaching = sources
      .filter((path) => ['ipam', 'plugins'].includes(layerOf(path)) && !/^\w+\/index\.ts$/.test(path))
      .flatMap((path) =>
        importsOf(path)
          .filter(({ specifier }) => specifier.startsWith('.'))
          .map(({ specifier }) => target(path, specifier))
          .filter((imported) => layerOf(imported) === layerOf(path))
          .filter((imported) => ![undefined, homeOf(path)].includes(homeOf(imported)))
          .map((imported) => `${path} imports ${imported}`),
      )
    expect(reaching).toEqual([])
  })

  test('name files that exist, with their extension', () => {
    const all = new Set(sources)
    const dangling = sources.flatMap((path) =>
      importsOf(path)
        .filter(({ specifier }) => specifier.startsWith('.'))
        .filter(({ specifier }) => !all.has(target(path, specifier)))
        .map(({ specifier }) => `${path} imports ${specifier}`),
    )
    expect(dangling).toEqual([])
  })

  test('make no circle', () => {
    const edges = new Map(
      sources.map((path) => [
        path,
        importsOf(path)
          .filter(({ specifier, isType }) => specifier.startsWith('.') && !isType)
          .map(({ specifier }) => target(path, specifier)),
      ]),
    )
    const done = new Set<string>()
    const circles: string[] = []
    const visit = (path: string, trail: readonly string[]): void => {
      if (trail.includes(path)) {
        circles.push([...trail.slice(trail.indexOf(path)), path].join(' -> '))
        return
      }
      if (done.has(path)) return
      for (const next of edges.get(path) ?? []) visit(next, [...trail, path])
      done.add(path)
    }
    for (const path of sources) visit(path, [])
    expect(circles).toEqual([])
  })

  test('come from Node, by its scheme, or from the dependencies of package.json', () => {
    const { dependencies } = JSON.parse(read('package.json')) as { dependencies: Record<string, string> }
    const foreign = sources.flatMap((path) =>
      importsOf(path)
        .map(({ specifier }) => specifier)
        .filter((specifier) => !specifier.startsWith('.'))
        .filter((specifier) => {
          if (specifier.startsWith('node:')) return !isBuiltin(specifier)
          const parts = specifier.split('/')
          const name = parts.slice(0, specifier.startsWith('@') ? 2 : 1).join('/')
          return !Object.hasOwn(dependencies, name)
        })
        .map((specifier) => `${path} imports ${specifier}`),
    )
    expect(foreign).toEqual([])
  })
})

describe('the world outside', () => {
  const below = sources.filter((path) => !['cli', 'daemon'].includes(layerOf(path)))

  test('only native/binding.ts and native/embedded.ts know that there is a .node file', () => {
    const knowing = ['native/binding.ts', 'native/embedded.ts']
    const others = sources.filter((path) => !knowing.includes(path))
    expect(others.flatMap((path) => linesWith(path, /\.node['"`]|process\.dlopen/))).toEqual([])
  })

  test('only cli/ and daemon/ read the environment, arguments and input, print, or exit', () => {
    const pattern =
      /\bprocess\.(env|argv|stdin|stdout|stderr|exit|exitCode|abort|on|once|chdir|cwd|umask)\b|\bconsole\./
    expect(below.flatMap((path) => linesWith(path, pattern))).toEqual([])
  })

  test('programs are started in one place', () => {
    const starting = sources.filter((path) => /node:child_process/.test(code(path)))
    expect(starting).toEqual(['cni/child.ts'])
  })

  test('nobody uses a shell', () => {
    const pattern = /\bexecSync\b|\bshell: true|['"`](\/bin\/)?(ba|da)?sh['"`]/
    expect(sources.flatMap((path) => linesWith(path, pattern))).toEqual([])
  })
})
