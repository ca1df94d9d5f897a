import { readdirSync, readFileSync } from 'node:fs'
import { join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'

/** The repository. */
export const root = fileURLToPath(new URL('../../..', import.meta.url)).replace(/\/$/, '')

const notOurs = new Set(['.git', 'node_modules', 'build', 'dist', 'prebuilds', 'coverage'])

const walk = (folder: string): string[] =>
  readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name)
    if (entry.isDirectory()) return notOurs.has(entry.name) ? [] : walk(path)
    return entry.isFile() ? [relative(root, path)] : []
  })

/** Every file of the project, relative to {@link root}. */
export const files: readonly string[] = walk(root).sort()

export const read = (path: string): string => readFileSync(join(root, path), 'utf8')

/** Layers, lowest first: each may import from those before it. */
export const layers = ['native', 'netlink', 'cni', 'ipam', 'plugins', 'meta', 'daemon', 'cli']

/** TypeScript that is part of the product: what lies in a layer, and index.ts. */
export const sources = files.filter(
  (path) =>
    path === 'index.ts' || (path.endsWith('.ts') && layers.some((layer) => path.startsWith(`${layer}/`))),
)

/** A source without its comments, line by line as before. Good enough for code that a formatter has been over. */
export const code = (path: string): string =>
  read(path)
    .replace(/\/\*[\s\S]*?\*\//g, (comment) => comment.replace(/[^\n]/g, ''))
    .replace(/(^|\s)\/\/.*$/gm, '')

export interface Import {
  readonly specifier: string
  /** Only types: gone when the program runs. */
  readonly isType: boolean
}

/** What a module imports and re-exports, `import()` included. */
export const importsOf = (path: string): Import[] => {
  const text = code(path)
  const found: Import[] = []
  for (const [, word, specifier] of text.matchAll(
    /^(?:import|export)\s+(type\s)?[^'"()=;]*?from\s+'([^']+)'/gm,
  ))
    found.push({ specifier: specifier!, isType: word !== undefined })
  for (const [, specifier] of text.matchAll(/^import\s+'([^']+)'/gm))
    found.push({ specifier: specifier!, isType: false })
  for (const [, specifier] of text.matchAll(/\bimport\(\s*'([^']+)'\s*\)/g))
    found.push({ specifier: specifier!, isType: false })
  return found
}

/** `path:line: text` of every line of the code that matches. */
export const linesWith = (path: string, pattern: RegExp): string[] =>
  code(path)
    .split('\n')
    .flatMap((line, i) => (pattern.test(line) ? [`${path}:${i + 1}: ${line.trim()}`] : []))
