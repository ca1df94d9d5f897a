/** A plugin that touches nothing but a list, and what a call of it needs. */
import * as z from 'zod/mini'
import type { Invocation } from '../../../cni/dispatch.ts'
import {
  type AnyPlugin,
  type Attachment,
  definePlugin,
  type Logger,
  type PluginKind,
  type Plugins,
} from '../../../cni/plugin.ts'
import { commonConf, flag, int } from '../../../cni/schema.ts'
import type { Host } from '../../../cni/session.ts'
import { type AttachmentId, allVersions, type JsonObject, type Result } from '../../../cni/types.ts'

const conf = z.object({ ...commonConf, mtu: z._default(int, 0), broken: flag })
export type FakeConf = z.infer<typeof conf>

export interface FakeOptions {
  readonly type?: string
  /** Default `interface`. */
  readonly kind?: PluginKind
  readonly versions?: readonly string[]
  /** Replaces what ADD does after it has noted itself and pushed its inverse. */
  readonly add?: (attachment: Attachment<FakeConf>) => Promise<Result>
  readonly del?: (attachment: Attachment<FakeConf>) => Promise<void>
  readonly status?: false
  readonly gc?: false
}

export const address: Result = {
  interfaces: [{ name: 'eth0', mac: '02:00:00:00:00:01', sandbox: '/run/netns/x', mtu: 1400 }],
  ips: [{ address: '10.1.0.2/16', gateway: '10.1.0.1', interface: 0 }],
  routes: [{ dst: '0.0.0.0/0' }],
}

/** A plugin, and everything it was asked to do, in order. */
export const fakePlugin = (
  options: FakeOptions = {},
  journal: string[] = [],
): AnyPlugin & { readonly journal: string[] } => {
  const type = options.type ?? 'fake'
  const note = (verb: string, what = ''): void => {
    journal.push(`${type} ${verb}${what}`)
  }
  const plugin = definePlugin({
    type,
    kind: options.kind ?? 'interface',
    versions: options.versions ?? allVersions,
    conf,
    async add(attachment) {
      note('ADD')
      attachment.undo.push(`undo ${type}`, () => note('undo'))
      return options.add ? await options.add(attachment) : address
    },
    async check() {
      note('CHECK')
    },
    async del(attachment) {
      note('DEL')
      await options.del?.(attachment)
    },
    async status() {
      note('STATUS')
    },
    async gc(_context, valid: readonly AttachmentId[]) {
      note('GC', ` ${valid.map(({ containerId, ifName }) => `${containerId}/${ifName}`).join(' ')}`)
    },
  })
  const { status, gc, ...rest } = plugin
  return {
    ...(rest as AnyPlugin),
    ...(options.status === false ? {} : { status: status as NonNullable<AnyPlugin['status']> }),
    ...(options.gc === false ? {} : { gc: gc as NonNullable<AnyPlugin['gc']> }),
    journal,
  }
}

export const pluginsOf = (...list: readonly AnyPlugin[]): Plugins =>
  new Map(list.map((plugin) => [plugin.type, plugin]))

/** Keeps what is said. */
export const memoryLog = (): Logger & { readonly lines: string[] } => {
  const lines: string[] = []
  const line = (message: string, { quoted }: Readonly<Record<string, unknown>> = {}): void => {
    lines.push(quoted === undefined ? message : `${message} | ${quoted}`)
  }
  return { debug: line, info: line, warn: line, error: line, lines }
}

export const hostWith = (...list: readonly AnyPlugin[]): Host => ({
  plugins: pluginsOf(...list),
  environment: { PATH: process.env.PATH ?? '' },
})

export const invocation = (
  verb: Invocation['verb'],
  conf: JsonObject = {},
  more: Partial<Invocation> = {},
) => ({
  verb,
  containerId: 'cid-1',
  ifName: 'eth0',
  netnsPath: '/nowhere/netns',
  path: '/nowhere/bin',
  ...more,
  conf: { cniVersion: '1.1.0', name: 'net', type: 'fake', ...conf },
})
