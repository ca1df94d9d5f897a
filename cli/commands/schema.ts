import { jsonSchema } from '../../cni/json-schema.ts'
import { plugins } from '../../plugins/index.ts'
import { defineCommand, UsageError } from '../command.ts'

export const schema = defineCommand({
  name: 'schema',
  summary: "print the JSON Schema of a plugin's configuration",
  positionals: 'TYPE',
  description: `For editors and linters. TYPE is one of:\n  ${[...plugins.keys()].join(', ')}.`,
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
