import { ValidationSeverity, type ValidatorSettings, validate } from 'dockerfile-utils'
import { describe, expect, test } from 'vitest'
import { read } from '../house/sources.ts'

const { ERROR } = ValidationSeverity
/** Nothing is let pass. */
const strict: ValidatorSettings = {
  deprecatedMaintainer: ERROR,
  directiveCasing: ERROR,
  emptyContinuationLine: ERROR,
  instructionCasing: ERROR,
  instructionCmdMultiple: ERROR,
  instructionEntrypointMultiple: ERROR,
  instructionHealthcheckMultiple: ERROR,
  instructionJSONInSingleQuotes: ERROR,
  instructionWorkdirRelative: ERROR,
}

const text = read('deploy/Dockerfile')
const problemsOf = (content: string): string[] =>
  validate(content, strict).map(({ message, range }) => `${range.start.line + 1}: ${message}`)

/** Instructions with their arguments in one line, stage by stage. */
const stages = text
  .replace(/\\\n/g, ' ')
  .split('\n')
  .filter((line) => /^[A-Z]+ /.test(line))
  .map((line) => line.replace(/\s+/g, ' '))
  .reduce<string[][]>((all, line) => {
    if (line.startsWith('FROM ')) all.push([])
    all.at(-1)?.push(line)
    return all
  }, [])
const all = stages.flat()

test('says nothing that a builder does not understand', () => expect(problemsOf(text)).toEqual([]))

test.each([
  ['an unknown instruction', (old: string) => old.replace('WORKDIR', 'WORKDIRS'), /WORKDIRS/],
  ['a relative folder', (old: string) => old.replace('WORKDIR /src', 'WORKDIR src'), /WORKDIR/],
  ['no JSON', (old: string) => old.replace('["daemon"]', "['daemon']"), /single quotes/i],
  ['two commands', (old: string) => `${old}CMD ["x"]\n`, /CMD/],
  ['no image', (old: string) => old.replace('node:24-bookworm', 'node:'), /reference/i],
  ['a flag that is none', (old: string) => old.replace('--from=build', '--form=build'), /form/],
  ['a line that is missing', (old: string) => old.replace(' && rm -rf', '\n && rm -rf'), /continuation/i],
])('the checker sees %s', (_, change, complaint) => {
  expect(change(text)).not.toBe(text)
  expect(problemsOf(change(text)).join('\n')).toMatch(complaint)
})

describe('the stages', () => {
  test('are two, and only the last one is kept', () => {
    expect(stages.map(([from]) => from)).toEqual([
      expect.stringMatching(/^FROM node:[\w.-]+ AS build$/),
      expect.stringMatching(/^FROM debian:[\w.-]+$/),
    ])
  })

  test('copy from one that is there', () => {
    const from = all.flatMap((line) => /^COPY .*--from=(\S+)/.exec(line)?.slice(1) ?? [])
    expect(from).toEqual(['build'])
  })

  test('are built by the Node whose release the executable is made of', () => {
    const [, built] = /^FROM node:(\d+)/.exec(stages[0]![0]!) ?? []
    const [, embedded] = /nodeVersion = '(\d+)\./.exec(read('scripts/sea/node-package.mjs')) ?? []
    expect(built).toBe(embedded)
    expect(built).toBeDefined()
  })

  test('fetch nothing but packages of the distribution and of the lock file', () => {
    for (const line of all) {
      expect(line).not.toMatch(/^ADD /)
      expect(line).not.toMatch(/\b(curl|wget|git clone|npx|npm install|npm i|pip|sudo)\b/)
    }
    expect(all.filter((line) => /\bnpm ci\b/.test(line))).toEqual(['RUN npm ci --ignore-scripts'])
  })

  test('hide no failure behind a pipe', () => {
    const piped = stages.map((lines) => lines.some((line) => /^RUN .*[^|]\|[^|]/.test(line)))
    const careful = stages.map((lines) => lines.some((line) => /^SHELL .*"pipefail"/.test(line)))
    for (const [i, has] of piped.entries()) if (has) expect(careful[i]).toBe(true)
  })

  test('hold no secret, no user and no port', () => {
    for (const line of all) {
      expect(line).not.toMatch(/^(USER|EXPOSE|VOLUME|ENV|ONBUILD|STOPSIGNAL) /)
      expect(line).not.toMatch(/token|password|secret|npmrc/i)
    }
    expect(all.filter((line) => line.startsWith('ARG '))).toEqual(['ARG SOURCE_DATE_EPOCH=0'])
  })
})
