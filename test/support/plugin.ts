import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { allVersions } from '../../cni/types.ts'
import { type Finished, plainEnv } from './program.ts'
import { isServed, servedBinDir } from './served.ts'
import type { Container, PrivateHost } from './space.ts'

/**
 * Folders of CNI executables: Debian's containernetworking-plugins; newer ones, which `npm test` builds where there is
 * Go; and what `npm run build` made.
 */
export const binDirs = {
  go: '/usr/lib/cni',
  goNewer: fileURLToPath(new URL('../../build/go-plugins', import.meta.url)),
  ours: fileURLToPath(new URL('../../dist/cni/bin', import.meta.url)),
} as const

/** Versions that the installed Go plugins (1.1.1) speak. */
export const goVersions = allVersions.filter((version) => version !== '1.1.0')

/** A CNI error as printed. */
export interface PrintedError {
  readonly cniVersion: string
  readonly code: number
  readonly msg: string
  readonly details?: string
}

interface PrintedAddress {
  readonly version?: string
  readonly interface?: number
  readonly address: string
  readonly gateway?: string
}
interface PrintedRoute {
  readonly dst: string
  readonly gw?: string
  readonly mtu?: number
  readonly advmss?: number
  readonly priority?: number
  readonly table?: number
  readonly scope?: number
}

/** What a plugin prints when it succeeds, in all versions at once. Not validated: that is for the tests. */
export interface PrintedResult {
  readonly cniVersion: string
  readonly interfaces?: readonly {
    readonly name: string
    readonly mac?: string
    readonly mtu?: number
    readonly sandbox?: string
  }[]
  readonly ips?: readonly PrintedAddress[]
  readonly routes?: readonly PrintedRoute[]
  /** 0.1.0 and 0.2.0. */
  readonly ip4?: { readonly ip: string; readonly gateway?: string; readonly routes?: readonly PrintedRoute[] }
  readonly ip6?: { readonly ip: string; readonly gateway?: string; readonly routes?: readonly PrintedRoute[] }
  readonly dns?: {
    readonly nameservers?: readonly string[]
    readonly domain?: string
    readonly search?: readonly string[]
    readonly options?: readonly string[]
  }
  /** VERSION. */
  readonly supportedVersions?: readonly string[]
}

/** What one execution of a plugin came to. */
export interface PluginRun extends Finished {
  /** What it printed when it succeeded; null where that was nothing. */
  readonly result: PrintedResult | null
  /** What it printed when it failed; null when it succeeded. */
  readonly error: PrintedError | null
}

export interface PluginCall {
  readonly host: PrivateHost
  /** One of {@link binDirs}, or another. */
  readonly binDir: string
  readonly type: string
  readonly command: string
  /** Encoded as JSON; a string goes in as it is. */
  readonly conf: unknown
  /** Default `cid-1`. Null leaves the variable out; so with the rest. */
  readonly containerId?: string | null | undefined
  /** A container of the host, or a path. Default: none. */
  readonly netns?: Container | string | null | undefined
  /** Default `eth0`. */
  readonly ifName?: string | null | undefined
  /** CNI_ARGS. Default: none. */
  readonly args?: string | null | undefined
  /** CNI_PATH. Default: `binDir`. */
  readonly path?: string | null | undefined
  /** Further variables. */
  readonly env?: Readonly<Record<string, string>> | undefined
  /** Milliseconds. Default 30 000. */
  readonly timeout?: number | undefined
  /** Told the process id (`nsenter` becomes the plugin, so it is the plugin's). */
  readonly started?: ((pid: number) => void) | undefined
}

const parsed = (text: string): unknown => {
  if (text.trim() === '') return null
  try {
    return JSON.parse(text)
  } catch {
    throw new Error(`a plugin printed something that is not JSON:\n${text}`)
  }
}

/** Executes a plugin as a runtime does, in the network and mount namespace of `host`. */
export const runPlugin = async (call: PluginCall): Promise<PluginRun> => {
  const binDir = isServed && call.binDir === binDirs.ours ? await servedBinDir(call.host) : call.binDir
  const file = `${binDir}/${call.type}`
  if (!existsSync(file))
    throw new Error(`${file} is missing; npm run build makes ours, the rest is a package`)
  const netns = call.netns ?? null
  const variables: Record<string, string | null> = {
    CNI_COMMAND: call.command,
    CNI_CONTAINERID: call.containerId === undefined ? 'cid-1' : call.containerId,
    CNI_NETNS: netns === null || typeof netns === 'string' ? netns : netns.sandbox,
    CNI_IFNAME: call.ifName === undefined ? 'eth0' : call.ifName,
    CNI_ARGS: call.args ?? null,
    CNI_PATH: call.path === undefined ? binDir : call.path,
  }
  const env: Record<string, string> = { ...plainEnv }
  for (const [name, value] of Object.entries(variables)) if (value !== null) env[name] = value
  const finished = await call.host.run(file, [], {
    input: typeof call.conf === 'string' ? call.conf : JSON.stringify(call.conf),
    env: { ...env, ...call.env },
    timeout: call.timeout,
    started: call.started,
  })
  const printed = parsed(finished.stdout)
  return finished.status === 0
    ? { ...finished, result: printed as PrintedResult | null, error: null }
    : { ...finished, result: null, error: printed as PrintedError | null }
}

/** The same, where it has to succeed. @returns what it printed; an empty result where that was nothing (DEL, CHECK) */
export const mustRunPlugin = async (call: PluginCall): Promise<PrintedResult> => {
  const { status, signal, result, stdout, stderr } = await runPlugin(call)
  if (status !== 0)
    throw new Error(`${call.type} ${call.command}: ${signal ?? `exit ${status}`}\n${stdout}\n${stderr}`)
  return result ?? { cniVersion: '' }
}
