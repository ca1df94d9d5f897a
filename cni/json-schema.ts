/** Kept apart from schema.ts so that the executables do not carry zod's generator. */
import * as z from 'zod/mini'
import type { AnyPlugin } from './plugin.ts'
import type { JsonObject } from './types.ts'

/** The JSON Schema (draft 2020-12) of a plugin's configuration, for editors and linters. */
export const jsonSchema = (plugin: Pick<AnyPlugin, 'type' | 'conf'>): JsonObject => {
  const schema = z.toJSONSchema(plugin.conf, {
    io: 'input',
    unrepresentable: 'any',
    // The bounds of a JavaScript number say nothing to whoever writes a configuration.
    override: ({ jsonSchema }) => {
      if (jsonSchema.minimum === Number.MIN_SAFE_INTEGER) delete jsonSchema.minimum
      if (jsonSchema.maximum === Number.MAX_SAFE_INTEGER) delete jsonSchema.maximum
    },
  })
  return { ...schema, title: `CNI plugin ${plugin.type}` } as unknown as JsonObject
}
