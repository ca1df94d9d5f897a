/** How a runtime gets to plugins: by the launchers and their daemon, or by the library. */
import type { JsonObject } from '../../../cni/types.ts'
import type { PrintedResult } from '../../support/plugin.ts'
import type { Network } from './networks.ts'

/** As the specification has it: the interface of a container. */
export interface AttachmentName {
  readonly containerID: string
  readonly ifname: string
}

/** One verb for all plugins of a network. */
export interface Call {
  readonly verb: 'ADD' | 'CHECK' | 'DEL' | 'GC' | 'STATUS'
  readonly network: Network
  /** ADD, CHECK and DEL: whose. */
  readonly attachment?: AttachmentName | undefined
  /** Path of the container's namespace. */
  readonly netns?: string | undefined
  /** For plugins with the capability. */
  readonly portMappings?: readonly JsonObject[] | undefined
  /** What ADD gave. */
  readonly result?: PrintedResult | null | undefined
  /** GC: who stays. */
  readonly valid?: readonly AttachmentName[] | undefined
  readonly giveUp?: GiveUp | undefined
}

/** The runtime does not wait for the end. */
export interface GiveUp {
  /** Milliseconds. */
  readonly after: number
  /** What is sent to the plugin that runs then. */
  readonly signal: 'SIGKILL' | 'SIGTERM'
}

/** How a call came out. */
export interface Outcome {
  /** 0: success; a CNI error's code; or nobody has answered: the caller has given up, or who worked for it has died. */
  readonly code: number | 'given up' | 'lost'
  /** What was said. */
  readonly text: string
  /** ADD's. */
  readonly result?: PrintedResult | undefined
}

export interface Door {
  readonly name: string
  /** Of the process that does the work. Null while it does not run. */
  readonly pid: number | null
  start(): Promise<void>
  /** Ends it. Safe to repeat. */
  end(signal: 'SIGKILL' | 'SIGTERM'): Promise<void>
  call(call: Call): Promise<Outcome>
  /** Operations that the process has done so far in this life. */
  served(): Promise<number>
  /** What the process has said that nobody expects: warnings of the engine, crashes. */
  complaints(): readonly string[]
}
