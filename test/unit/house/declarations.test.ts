import { dirname, join, normalize } from 'node:path'
import { describe, expect, test } from 'vitest'
import { code, read, sources } from './sources.ts'

/** Names that `path` makes public: its own exports and those that it passes on, as `file: name`. */
const publicNames = (
  path: string,
  wanted: ReadonlySet<string> | null = null,
  seen = new Set<string>(),
): string[] => {
  const text = code(path)
  const found: string[] = []
  for (const [, name] of text.matchAll(/^export (?:async )?(?:const|function|class) (\w+)/gm))
    if (!wanted || wanted.has(name!)) found.push(`${path}: ${name}`)
  for (const [, all, names, specifier] of text.matchAll(
    /^export (\*(?: as \w+)?|\{([^}]*)\}) from '(\.[^']+)'/gm,
  )) {
    const file = normalize(join(dirname(path), specifier!))
    const some = names
      ?.split(',')
      .map((name) => name.trim())
      .filter((name) => name !== '' && !name.startsWith('type '))
      .map((name) => name.split(' as ')[0]!)
      .filter((name) => !wanted || wanted.has(name))
    const key = `${file} ${all}`
    if (seen.has(key)) continue
    seen.add(key)
    found.push(...publicNames(file, some ? new Set(some) : null, seen))
  }
  return found
}

const isDocumented = (entry: string): boolean => {
  const [path, name] = entry.split(': ') as [string, string]
  const lines = read(path).split('\n')
  const at = lines.findIndex((line) =>
    new RegExp(`^export (async )?(const|function|class) ${name}\\b`).test(line),
  )
  return lines[at - 1]?.trim().endsWith('*/') ?? false
}

describe('what a program can import', () => {
  const entries = [...new Set(publicNames('index.ts'))]

  test('is found', () => {
    expect(entries).toContain('netlink/netns.ts: Netns')
    expect(entries).toContain('cni/chain.ts: runChain')
    expect(entries.length).toBeGreaterThan(100)
    expect(new Set(entries.map((entry) => entry.split(':')[0])).size).toBeLessThanOrEqual(sources.length)
  })

  test('says what it is', () => {
    expect(entries.filter((entry) => !isDocumented(entry))).toEqual([])
  })
})
