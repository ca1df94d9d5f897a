import { dirname, join, normalize } from 'node:path'
import { describe, expect, test } from 'vitest'
import { files, read } from './sources.ts'

const pages = files.filter((path) => path.endsWith('.md'))

/** A heading's anchor as GitHub makes it. */
const anchor = (heading: string): string =>
  heading
    .replace(/`|\*\*/g, '')
    .replace(/\[([^\]]*)\]\([^)]*\)/g, '$1')
    .trim()
    .toLowerCase()
    .replace(/[^\p{L}\p{N} _-]/gu, '')
    .replace(/ /g, '-')

/** Text without fenced code, where a `#` is no heading and brackets are no link. */
const prose = (path: string): string => read(path).replace(/^(```|~~~)[\s\S]*?^\1/gm, '')

const anchors = (path: string): Set<string> =>
  new Set([...prose(path).matchAll(/^#{1,6} (.*)$/gm)].map(([, heading]) => anchor(heading!)))

describe('documentation', () => {
  test('its links lead somewhere', () => {
    const broken = pages.flatMap((page) =>
      [...prose(page).matchAll(/\]\(([^)\s]+)\)/g)]
        .map(([, link]) => link!)
        .filter((link) => !/^[a-z]+:/.test(link))
        .filter((link) => {
          const [file, fragment] = link.split('#') as [string, string | undefined]
          const path = file === '' ? page : normalize(join(dirname(page), file)).replace(/\/$/, '')
          const isThere = files.includes(path) || files.some((other) => other.startsWith(`${path}/`))
          if (!isThere) return true
          return fragment !== undefined && path.endsWith('.md') && !anchors(path).has(fragment)
        })
        .map((link) => `${page}: ${link}`),
    )
    expect(broken).toEqual([])
  })

  test('files that it names in backticks exist', () => {
    const folders = 'native|netlink|cni|ipam|plugins|cli|scripts|test|bench|docs|examples'
    const missing = pages.flatMap((page) =>
      [...prose(page).matchAll(new RegExp(`\`((?:${folders})/[\\w./-]+\\.\\w+)\``, 'g'))]
        .map(([, name]) => name!)
        .filter((name) => !files.includes(name))
        .map((name) => `${page}: ${name}`),
    )
    expect(missing).toEqual([])
  })

  test('commands that it names are scripts of package.json', () => {
    const { scripts } = JSON.parse(read('package.json')) as { scripts: Record<string, string> }
    const missing = pages.flatMap((page) =>
      [...read(page).matchAll(/\bnpm run ([\w:-]+)/g)]
        .map(([, name]) => name!)
        .filter((name) => !Object.hasOwn(scripts, name))
        .map((name) => `${page}: npm run ${name}`),
    )
    expect(missing).toEqual([])
  })
})
