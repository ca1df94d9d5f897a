import { describe, expect, test } from 'vitest'
import { defineCommand, helpOf, runCommand } from '../../../cli/command.ts'
import { commands } from '../../../cli/commands/index.ts'

const usageOf = (help: string): string | undefined =>
  help.split('\n').find((line) => line.startsWith('Usage: '))

test.each([
  ['', 'Usage: linkwright act [options]'],
  ['NETWORK', 'Usage: linkwright act NETWORK [options]'],
  ['NETWORK [NETNS]', 'Usage: linkwright act NETWORK [NETNS] [options]'],
])('the usage of a command that takes %j', (positionals, usage) => {
  const command = { name: 'act', summary: 'do it', positionals, options: {}, run: async () => 0 }
  expect(usageOf(helpOf(defineCommand(command)))).toBe(usage)
})

describe.each(Object.entries(commands))('linkwright %s', (name, { load }) => {
  test('has help that fits the screen, and tells of every option', async () => {
    const command = await load()
    expect(command.name).toBe(name)
    const told: string[] = []
    const write = { out: (text: string) => void told.push(text), err: () => {} }
    expect(await runCommand(command, ['--help'], write)).toBe(0)
    const help = told.join('')
    expect(usageOf(help)).toMatch(new RegExp(`^Usage: linkwright ${name}( \\[?[A-Z]+\\]?)* \\[options\\]$`))
    for (const option of Object.keys(command.options)) expect(help).toMatch(new RegExp(` --${option}\\b`))
    for (const line of help.split('\n')) {
      expect(line.length).toBeLessThanOrEqual(110)
      expect(line).toBe(line.trimEnd())
    }
  })
})

test('a long help of an option goes on below itself', () => {
  const options = { 'dry-run': { type: 'boolean', help: `${'word '.repeat(30)}end` } } as const
  const command = { name: 'act', summary: 'do it', positionals: '', options, run: async () => 0 }
  const lines = helpOf(defineCommand(command)).split('\n')
  const at = lines.findIndex((line) => line.startsWith('  --dry-run   word word'))
  expect(lines[at]!.length).toBeLessThanOrEqual(110)
  expect(lines[at + 1]).toMatch(/^ {14}word.* end$/)
})
