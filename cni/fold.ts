/**
 * Go's rules for matching JSON keys, which configurations in the wild rely on: the case of a key does not matter
 * where a field is known (`"RuntimeConfig"`), the last of several wins, null leaves a field at its default. Keys of
 * maps (capabilities, sysctls) keep their case. Done before a schema sees the value, along the schema.
 */
import type * as z from 'zod/mini'

type Schema = z.core.$ZodType
/** Null where nothing below a schema has known keys, so that the value may stay as it is. */
type Folder = ((value: unknown) => unknown) | null

/** What this file reads of zod's definitions; they are plain data. */
interface Definition {
  readonly type: string
  readonly shape?: Readonly<Record<string, Schema>>
  readonly catchall?: Schema
  readonly element?: Schema
  readonly valueType?: Schema
  readonly innerType?: Schema
  readonly getter?: () => Schema
  readonly in?: Schema
  readonly options?: readonly Schema[]
}

/** @internal */
export const definitionOf = (schema: Schema): Definition => schema._zod.def as Definition

export const isObject = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

/** Go folds the long s and the Kelvin sign like the letters they stand for; `toLowerCase` knows only the latter. */
const lower = (key: string): string => key.toLowerCase().replaceAll('ſ', 's')

const folders = new WeakMap<Schema, { readonly fold: Folder }>()

const accepts = (schema: Schema): boolean => {
  const { type, innerType } = definitionOf(schema)
  return type === 'nullable' || type === 'null' || (innerType !== undefined && accepts(innerType))
}

const foldObject = (shape: Readonly<Record<string, Schema>>, loose: boolean): Folder => {
  interface Field {
    readonly key: string
    readonly fold: Folder
    readonly nullable: boolean
  }
  const exact = new Map<string, Field>()
  const folded = new Map<string, Field>()
  for (const [key, schema] of Object.entries(shape)) {
    const field = { key, fold: folderOf(schema), nullable: accepts(schema) }
    exact.set(key, field)
    folded.set(lower(key), field)
  }
  return (value) => {
    if (!isObject(value)) return value
    const result: Record<string, unknown> = {}
    for (const name in value) {
      const field = exact.get(name) ?? folded.get(lower(name))
      const inner = value[name]
      if (!field) {
        // An own `__proto__`, which JSON can make, would set the prototype here.
        if (loose && name !== '__proto__') result[name] = inner
      } else if (inner !== null || field.nullable)
        result[field.key] = field.fold && inner !== null ? field.fold(inner) : inner
    }
    return result
  }
}

const build = (schema: Schema): Folder => {
  const definition = definitionOf(schema)
  switch (definition.type) {
    case 'object':
      return foldObject(definition.shape ?? {}, definition.catchall !== undefined)
    case 'array': {
      const fold = folderOf(definition.element!)
      return fold && ((value) => (Array.isArray(value) ? value.map(fold) : value))
    }
    case 'record': {
      const fold = folderOf(definition.valueType!)
      if (!fold) return null
      return (value) =>
        isObject(value)
          ? Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, fold(inner)]))
          : value
    }
    case 'lazy':
      return (value) => folderOf(definition.getter!())?.(value) ?? value
    case 'pipe':
      return folderOf(definition.in!)
    case 'union': {
      const folds = definition.options!.map(folderOf).filter((fold) => fold !== null)
      return folds.length === 1 ? folds[0]! : null
    }
    default:
      return definition.innerType ? folderOf(definition.innerType) : null
  }
}

const folderOf = (schema: Schema): Folder => {
  let known = folders.get(schema)
  if (!known) {
    known = { fold: build(schema) }
    folders.set(schema, known)
  }
  return known.fold
}

/** The value with every known key spelled as the schema has it, and without nulls that mean "default". */
export const foldKeys = (schema: Schema, value: unknown): unknown => folderOf(schema)?.(value) ?? value

/** The value of a key in any case; the last wins, null is absent. For the few keys read before a schema is. */
export const lookup = (object: Readonly<Record<string, unknown>>, key: string): unknown => {
  const wanted = lower(key)
  let found: unknown
  for (const name in object)
    if ((name === key || (name.length === key.length && lower(name) === wanted)) && object[name] !== null)
      found = object[name]
  return found
}
