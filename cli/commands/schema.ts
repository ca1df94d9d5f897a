import { jsonSchema } from '../../cni/json-schema.ts'
import { plugins } from '../../plugins/index.ts'
import { defineCommand, UsageError } from '../command.ts'

/** Words between commas, in lines of the help. */
const wrapped = (words: readonly string[]): string => {
  const lines = ['']
  for (const [i, word] of words.entries()) {
    const piece = i + 1 < words.length ? `${word}, ` : word
    if (lines.at(-1)!.length + piece.length > 100) lines.push('')
    lines[lines.length - 1] += piece
  }
  return lines.map((line) => `  ${line.trimEnd()}`).join('\n')
}

export const schema = defineCommand({
  name: 'schema',
  summary: "print the JSON Schema of a plugin's configuration",
  positionals: 'TYPE',
  description: `For editors and linters. TYPE is one of:\n${wrapped([...plugins.keys()])}.`,
  options: { json: { type: 'boolean', help: 'print it without indentation' } },
  run: async (values, [type = ''], output) => {
    const plugin = plugins.get(type)
    if (!plugin)
      throw new UsageError(
        `there is no plugin ${JSON.stringify(type)}, only ${[...plugins.keys()].join(', ')}`,
      )
    output.out(`${JSON.stringify(jsonSchema(plugin), null, values.json ? 0 : 2)}\n`)
    return 0
  },
})
