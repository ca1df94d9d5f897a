/**
 * What is ours though no manifest tells of it: it was lost, with the prefix or without. Links lead to what they are of,
 * and what was kept has the name of what it was.
 */
import { basename, dirname, join, resolve } from 'node:path'
import { look, namesIn } from './files.ts'
import { type Layout, TYPE } from './layout.ts'
import { type Entry, keptNames, type Manifest, type Saved } from './manifest.ts'

/** The file that was kept of a plugin; null where there is none, or where it is one of several. */
const keptOf = (type: string, folder: string, used: readonly string[]): Saved | null => {
  const names = namesIn(folder).filter((name) => name.replace(/\.\d+$/, '') === type && !used.includes(name))
  const [name] = names
  if (name === undefined || names.length > 1) return null
  const found = look(join(folder, name))
  if (found?.kind !== 'file') return null
  const { mode, uid, gid } = found.stat
  return { kind: 'file', name, mode: mode & 0o7777, uid, gid, sha256: found.sha256 }
}

/** Links into the version that is used, which the manifest does not speak of. */
export const unrecorded = (layout: Layout, manifest: Manifest): Entry[] => {
  const { binDir, current, command, replaced } = layout
  const known = new Set(manifest.entries.map(({ path }) => path))
  const used = keptNames(manifest)
  const entryAt = (path: string, role: Entry['role']): Entry[] => {
    const found = known.has(path) ? null : look(path)
    if (found?.kind !== 'link') return []
    if (!resolve(dirname(path), found.target).startsWith(`${current}/`)) return []
    const saved = role === 'plugin' ? keptOf(basename(path), replaced, used) : null
    return [{ path, role, made: found, replaced: saved }]
  }
  const types = namesIn(binDir).filter((name) => TYPE.test(name))
  return [...types.flatMap((type) => entryAt(join(binDir, type), 'plugin')), ...entryAt(command, 'command')]
}
