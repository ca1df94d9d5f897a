/** Runs an IPAM plugin the way the protocol layer does, without a namespace: it needs none. */
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { onTestFinished } from 'vitest'
import { CniArgs } from '../../../cni/args.ts'
import { CniError } from '../../../cni/error.ts'
import type { AnyPlugin, Attachment, Logger } from '../../../cni/plugin.ts'
import { parseConf, parseConfLenient } from '../../../cni/schema.ts'
import type { AttachmentId, JsonObject, Result } from '../../../cni/types.ts'
import { UndoStack } from '../../../cni/undo.ts'

export interface Call {
  readonly conf: JsonObject
  readonly containerId?: string | undefined
  readonly ifName?: string | undefined
  readonly args?: string | undefined
  readonly prevResult?: Result | undefined
  readonly signal?: AbortSignal | undefined
  readonly log?: Logger | undefined
}

const nothing = (): void => {}
export const silence: Logger = { debug: nothing, info: nothing, warn: nothing, error: nothing }

const lenient = (verb: string): boolean => verb === 'DEL' || verb === 'GC'

export const attachmentOf = (plugin: AnyPlugin, verb: string, call: Call): Attachment<unknown> => {
  const { conf, prevResult, signal = new AbortController().signal } = call
  const unused = (): never => {
    throw new Error('an IPAM plugin has no business here')
  }
  return {
    conf: lenient(verb)
      ? parseConfLenient(plugin.conf, conf).conf
      : parseConf(plugin.conf, conf, plugin.type),
    rawConf: conf,
    cniVersion: typeof conf.cniVersion === 'string' ? conf.cniVersion : '0.1.0',
    network: String(conf.name),
    args: new CniArgs(call.args ?? '', verb === 'ADD' || verb === 'CHECK'),
    containerId: call.containerId ?? 'cid-1',
    ifName: call.ifName ?? 'eth0',
    netnsPath: '',
    netns: null,
    prevResult: prevResult ?? null,
    undo: new UndoStack(),
    exec: unused,
    log: call.log ?? silence,
    clock: { now: () => Date.now() },
    signal,
    ipam: null,
    delegate: unused,
    deleteHostLink: unused,
    get hostNetns() {
      return unused()
    },
    get host() {
      return unused()
    },
    get hostNftables() {
      return unused()
    },
    get container() {
      return unused()
    },
  }
}

/** ADD. Undoes what it did when it fails. */
export const add = async (plugin: AnyPlugin, call: Call): Promise<Result> => {
  const attachment = attachmentOf(plugin, 'ADD', call)
  try {
    return await plugin.add(attachment)
  } catch (error) {
    const failures = await attachment.undo.run()
    if (failures[0]) throw failures[0]
    throw error
  }
}

/** ADD, and what undoes it. */
export const addUndoably = async (plugin: AnyPlugin, call: Call) => {
  const attachment = attachmentOf(plugin, 'ADD', call)
  return { result: await plugin.add(attachment), undo: attachment.undo }
}

export const check = async (plugin: AnyPlugin, call: Call): Promise<void> =>
  plugin.check(attachmentOf(plugin, 'CHECK', call))

export const del = async (plugin: AnyPlugin, call: Call): Promise<void> =>
  plugin.del(attachmentOf(plugin, 'DEL', call))

export const status = async (plugin: AnyPlugin, call: Call): Promise<void> =>
  plugin.status?.(attachmentOf(plugin, 'STATUS', call))

export const gc = async (plugin: AnyPlugin, call: Call, valid: readonly AttachmentId[]): Promise<void> =>
  plugin.gc?.(attachmentOf(plugin, 'GC', call), valid)

/** The error that a promise must end with. */
export const failure = async (promise: Promise<unknown>): Promise<CniError> => {
  try {
    await promise
  } catch (error) {
    if (error instanceof CniError) return error
    throw error
  }
  throw new Error('it did not fail')
}

/** A directory that goes away with the test. */
export const scratch = (): string => {
  const dir = mkdtempSync(join(tmpdir(), 'lw-ipam-'))
  onTestFinished(() => rmSync(dir, { recursive: true, force: true }))
  return dir
}

/** Names, modes and contents of everything below a directory. */
export const tree = (dir: string): Record<string, string> => {
  const found: Record<string, string> = {}
  const visit = (folder: string): void => {
    for (const entry of readdirSync(join(dir, folder), { withFileTypes: true })) {
      const path = folder === '' ? entry.name : `${folder}/${entry.name}`
      const mode = (statSync(join(dir, path), { throwIfNoEntry: false })?.mode ?? 0) & 0o7777
      if (entry.isDirectory()) visit(path)
      else if (entry.isFile()) found[path] = `${mode.toString(8)} ${readFileSync(join(dir, path), 'utf8')}`
      else found[path] = 'link'
    }
  }
  visit('')
  return found
}

/** Names of a network's reservations. */
export const reserved = (dir: string): string[] =>
  Object.keys(tree(dir))
    .filter((name) => name !== 'lock' && !name.startsWith('last_reserved_ip.'))
    .sort()
