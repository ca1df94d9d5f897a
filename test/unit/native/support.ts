/** What the addon's tests share: structs as bytes, and programs that load the addon in a process of their own. */
import { readdirSync, readlinkSync } from 'node:fs'
import { createRequire } from 'node:module'
import { fileURLToPath } from 'node:url'
import { Worker } from 'node:worker_threads'
import { onTestFinished } from 'vitest'
import { type Binding, binding, type Descriptor, type SystemError } from '../../../native/binding.ts'
import { type Finished, plainEnv, run } from '../../support/program.ts'

declare const __LINKWRIGHT_ADDON__: string | undefined

export const native: Binding = binding()

/** The file that {@link native} was loaded from; the sanitizer build has its own. */
export const addonPath: string =
  typeof __LINKWRIGHT_ADDON__ === 'string'
    ? __LINKWRIGHT_ADDON__
    : fileURLToPath(new URL('../../../build/Release/linkwright.node', import.meta.url))

/** Loads `path` once more in this process, past the module cache. */
export const loadAgain = (path = addonPath): Binding => {
  const require = createRequire(import.meta.url)
  delete require.cache[path]
  return require(path) as Binding
}

export const AF_UNIX = 1
export const AF_INET = 2
export const AF_NETLINK = 16
export const AF_PACKET = 17
export const SOCK_STREAM = 1
export const SOCK_DGRAM = 2
export const SOCK_RAW = 3
export const SOL_SOCKET = 1
export const EPOLLIN = 1
export const EPOLLHUP = 0x10

/** Closes it at the end of the running test. */
export const closing = <T extends { close(): void }>(resource: T): T => {
  onTestFinished(() => resource.close())
  return resource
}

/** A socket in `netns`, closed at the end of the test. */
export const socket = (
  domain: number,
  type: number,
  protocol = 0,
  netns: Descriptor | null = null,
): Descriptor => {
  const [opened] = native.openInNetns(netns, [{ domain, type, protocol }])
  if (opened instanceof Error) throw opened
  return closing(opened as Descriptor)
}

/** `struct sockaddr_un` with a name that needs no file. */
export const unixAddress = (name: string): Uint8Array =>
  Buffer.concat([Buffer.from(Uint16Array.of(AF_UNIX).buffer), Buffer.from(`\0${name}`)])

let names = 0
/** A name no other test uses at the same time. */
export const uniqueName = (): string => `linkwright-test-${process.pid}-${++names}`

/** Two connected unix stream sockets. */
export const streamPair = (): [Descriptor, Descriptor] => {
  const address = unixAddress(uniqueName())
  const server = socket(AF_UNIX, SOCK_STREAM)
  native.bind(server, address)
  native.listen(server, 1)
  const client = socket(AF_UNIX, SOCK_STREAM)
  native.connect(client, address)
  return [client, closing(native.accept(server)!)]
}

/** `struct nlmsghdr` and a body. */
export const message = (type: number, flags: number, seq: number, body: Uint8Array): Buffer => {
  const header = Buffer.alloc(16)
  header.writeUInt32LE(16 + body.length, 0)
  header.writeUInt16LE(type, 4)
  header.writeUInt16LE(flags, 6)
  header.writeUInt32LE(seq >>> 0, 8)
  return Buffer.concat([header, body])
}

export const NLM_F_REQUEST = 1
export const NLM_F_ACK = 4
export const NLM_F_DUMP = 0x300
export const NLMSG_ERROR = 2
export const NLMSG_DONE = 3
export const RTM_NEWLINK = 16
export const RTM_GETLINK = 18

/** `struct ifinfomsg`. */
export const ifinfomsg = (index: number, flags = 0, change = 0): Buffer => {
  const body = Buffer.alloc(16)
  body.writeInt32LE(index, 4)
  body.writeUInt32LE(flags, 8)
  body.writeUInt32LE(change, 12)
  return body
}

/** RTM_GETLINK of one interface; lo is 1 in every namespace. `ip link show dev lo` */
export const getLink = (seq: number, index = 1): Buffer =>
  message(RTM_GETLINK, NLM_F_REQUEST | NLM_F_ACK, seq, ifinfomsg(index))

export interface Reply {
  readonly type: number
  readonly seq: number
  /** Of an NLMSG_ERROR. */
  readonly error: number
  readonly length: number
}

/** The messages of concatenated replies. */
export const replies = (bytes: Uint8Array): Reply[] => {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length)
  const result: Reply[] = []
  for (let at = 0; at < buffer.length; ) {
    const length = buffer.readUInt32LE(at)
    const type = buffer.readUInt16LE(at + 4)
    const error = type === NLMSG_ERROR ? buffer.readInt32LE(at + 16) : 0
    result.push({ type, seq: buffer.readUInt32LE(at + 8), error, length })
    at += (length + 3) & ~3
  }
  return result
}

/** How an exchange of `count` requests from `firstSeq` on ends. */
export const expecting = (firstSeq: number, count = 1, timeout = 5000) => ({
  firstSeq,
  lastSeq: (firstSeq + count - 1) >>> 0,
  expected: count,
  abortSeq: -1,
  timeout,
})

/** What `call` throws, as the SystemError it must be. */
export const refusal = (call: () => unknown): SystemError => {
  try {
    call()
  } catch (error) {
    return error as SystemError
  }
  throw new Error('nothing was thrown')
}

/** How many descriptors and threads this process has. */
export const held = (): { descriptors: number; threads: number } => ({
  descriptors: readdirSync('/proc/self/fd').filter((fd) => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`) !== ''
    } catch {
      // The directory's own, closed by now.
      return false
    }
  }).length,
  threads: readdirSync('/proc/self/task').length,
})

/** A preloaded sanitizer, and how it reports, must reach programs that load the same addon. */
const sanitizerEnv = Object.fromEntries(
  Object.entries(process.env).filter(([name]) => /^(LD_PRELOAD|[AUL]+SAN_OPTIONS)$/.test(name)),
) as Record<string, string>

/** Environment of a Node process that loads the addon. */
export const nodeEnv: Record<string, string> = { ...plainEnv, ...sanitizerEnv }

/** The same for a process that the leak checker can't look into. */
export const unseenEnv: Record<string, string> = {
  ...nodeEnv,
  ...(nodeEnv.ASAN_OPTIONS && { ASAN_OPTIONS: `${nodeEnv.ASAN_OPTIONS}:detect_leaks=0` }),
}

const prelude = `
const native = require(process.env.ADDON ?? require('node:worker_threads').workerData.addon)
const open = (domain, type, protocol = 0, netns = null) => {
  const [opened] = native.openInNetns(netns, [{ domain, type, protocol }])
  if (opened instanceof Error) throw opened
  return opened
}
const unixAddress = (name) => Buffer.concat([Buffer.from([1, 0]), Buffer.from('\\0' + name)])
const getLink = Buffer.from([32, 0, 0, 0, 18, 0, 5, 0, 1, 0, 0, 0, 0, 0, 0, 0,
  0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])
const expecting = { firstSeq: 1, lastSeq: 1, expected: 1, abortSeq: -1, timeout: 5000 }
`

const nodeOptions = { env: { ...nodeEnv, ADDON: addonPath } }

/** Runs `source` (CommonJS, with `native` and the helpers above) in a Node process of its own. */
export const runProgram = (source: string, flags: readonly string[] = []): Promise<Finished> =>
  run(process.execPath, [...flags, '-e', prelude + source], nodeOptions)

/** The same without the helpers: the main thread does not load the addon. Its path is `process.env.ADDON`. */
export const runBare = (source: string): Promise<Finished> =>
  run(process.execPath, ['-e', source], nodeOptions)

/** Starts `source` in a worker thread; terminated at the end of the test. `data` is its `workerData`. */
export const worker = (source: string, data: Record<string, unknown> = {}): Worker => {
  const thread = new Worker(prelude + source, { eval: true, workerData: { ...data, addon: addonPath } })
  onTestFinished(async () => {
    await thread.terminate()
  })
  return thread
}
