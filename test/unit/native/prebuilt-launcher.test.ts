/** The launcher is built in two ways: by cmake for this machine, and by zig for the npm package. */
import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'

const read = (path: string): string => readFileSync(new URL(`../../../${path}`, import.meta.url), 'utf8')

/** What only a build for tests has, a path, or what clang does not know. */
const otherwise =
  /^-f(?:sanitize=|no-sanitize|no-omit-frame-pointer|file-prefix-map=|no-tree-switch-conversion)/

test('the code of both is made with the same options', () => {
  const listed = read('native/launcher/CMakeLists.txt').replace(/^\s*#.*$/gm, '')
  const options = listed.match(/(?<![\w-])-[fm][a-z][\w=-]*/g)!.filter((option) => !otherwise.test(option))
  expect(options).toContain('-mstack-protector-guard=global')
  const script = read('scripts/prebuild-launcher.mjs')
  expect(options.filter((option) => !script.includes(`'${option}'`))).toEqual([])
})
