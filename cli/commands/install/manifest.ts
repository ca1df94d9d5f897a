/** What was installed, and what it took the place of: `<prefix>/lib/linkwright/installed.json`. */
import { statSync } from 'node:fs'
import { dirname } from 'node:path'
import * as z from 'zod/mini'
import { readText } from '../../../ipam/files.ts'
import { explain, InstallError, isMissing } from './error.ts'
import { replaceText, syncFolder } from './files.ts'

/** 200 entries have 60 kB. */
const MAX_BYTES = 1 << 20

const path = z.string().check(z.minLength(2), z.maxLength(4096), z.regex(/^\/[^\0]*$/))
const sha256 = z.string().check(z.regex(/^[0-9a-f]{64}$/))
const link = z.object({
  kind: z.literal('link'),
  target: z.string().check(z.minLength(1), z.maxLength(4096)),
})
const made = z.union([link, z.object({ kind: z.literal('file'), sha256 })])
const id = z.int().check(z.minimum(0), z.maximum(0xffff_fffe))
const saved = z.union([
  link,
  z.object({
    kind: z.literal('file'),
    /** In the folder `replaced`. */
    name: z.string().check(z.regex(/^[A-Za-z0-9][\w.-]{0,254}$/)),
    mode: z.int().check(z.minimum(0), z.maximum(0o7777)),
    uid: id,
    gid: id,
    sha256,
  }),
])
const entry = z.object({
  path,
  role: z.enum(['plugin', 'command', 'unit', 'conf']),
  made,
  replaced: z.nullable(saved),
  /** What of ours stands there until `made` does: an installer that is killed in between leaves either. */
  before: z.optional(made),
})
const schema = z.object({
  format: z.literal(1),
  /** Sorted by path. */
  entries: z.array(entry).check(z.maxLength(1000)),
  /** Folders that were not there, and go again when they are empty; outermost first. */
  folders: z.array(path).check(z.maxLength(100)),
  /** Units that were enabled. */
  started: z
    .array(z.string().check(z.regex(/^linkwright[a-z-]*\.(?:service|socket)$/)))
    .check(z.maxLength(20)),
})

/** What stands at a path of ours. */
export type Made = z.infer<typeof made>
/** What stood there before. */
export type Saved = z.infer<typeof saved>
export type Entry = z.infer<typeof entry>
export type Manifest = z.infer<typeof schema>

export const emptyManifest: Manifest = { format: 1, entries: [], folders: [], started: [] }

/** @returns null where there is none. @throws InstallError where it can't be read, or is none */
export const readManifest = (file: string): Manifest | null => {
  const damaged = (why: string, cause?: unknown) =>
    new InstallError(
      `${file} is not what an installer wrote: ${why}`,
      'it says what was replaced: restore it, or move it away to begin anew: links of ours are known without it, and what is in the folder `replaced` beside it is put back where its name tells the plugin; configurations and units are then yours to put back',
      cause,
    )
  let text: string
  try {
    if (statSync(file).size > MAX_BYTES) throw damaged('it is too long')
    text = readText(file)
  } catch (error) {
    if (isMissing(error)) return null
    throw explain(error, `reading ${file}`)
  }
  let json: unknown
  try {
    json = JSON.parse(text)
  } catch (error) {
    throw damaged((error as Error).message, error)
  }
  const parsed = z.safeParse(schema, json)
  if (parsed.success) return parsed.data
  const { path: where, message } = parsed.error.issues[0]!
  throw damaged(`${where.join('.')}: ${message}`)
}

/** It is on the disk when this returns. There is no secret in it: a dry run, which needs no root, reads it, too. */
export const writeManifest = (file: string, manifest: Manifest): void => {
  replaceText(file, `${JSON.stringify(manifest, null, 2)}\n`, 0o644)
  syncFolder(dirname(file))
}

/** With an entry in the place of any for the same path. */
const withEntry = (manifest: Manifest, added: Entry): Manifest => ({
  ...manifest,
  entries: [...manifest.entries.filter((one) => one.path !== added.path), added].sort((a, b) =>
    a.path < b.path ? -1 : 1,
  ),
})

/** With several entries, each in the place of any for the same path. */
export const withEntries = (manifest: Manifest, added: readonly { readonly entry: Entry }[]): Manifest =>
  added.reduce((all, { entry }) => withEntry(all, entry), manifest)

export const withoutEntry = (manifest: Manifest, removed: string): Manifest => ({
  ...manifest,
  entries: manifest.entries.filter((one) => one.path !== removed),
})

/** Files in the folder `replaced` that entries speak of. */
export const keptNames = ({ entries }: Pick<Manifest, 'entries'>): string[] =>
  entries.flatMap(({ replaced }) => (replaced?.kind === 'file' ? replaced.name : []))

/** Plugins of one folder. */
export const pluginsIn = (manifest: Manifest, folder: string): Entry[] =>
  manifest.entries.filter((one) => one.role === 'plugin' && dirname(one.path) === folder)
