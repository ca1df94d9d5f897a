/** add, del, check, status: what cnitool does, with our plugins in process. */
import { createHash } from 'node:crypto'
import { existsSync, readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { defaultCacheDir } from '../../cni/cache.ts'
import { type ChainOptions, runChain } from '../../cni/chain.ts'
import {
  findNetwork,
  loadConfFile,
  type NetworkConf,
  parseConfList,
  parseSingleConf,
} from '../../cni/conflist.ts'
import type { Action } from '../../cni/dispatch.ts'
import { CniError } from '../../cni/error.ts'
import { isObject } from '../../cni/fold.ts'
import { printJson } from '../../cni/json.ts'
import { errorJson } from '../../cni/serve.ts'
import type { JsonObject } from '../../cni/types.ts'
import { type Command, defineCommand, type Output, UsageError } from '../command.ts'
import { hostEnvironment } from '../environment.ts'
import { stderrLogger } from '../log.ts'
import { stoppable } from '../stoppable.ts'

export const common = {
  'cni-path': {
    type: 'string',
    value: 'DIRS',
    help: 'where plugins that are not ours are found (default: $CNI_PATH, or /opt/cni/bin)',
  },
  'cache-dir': {
    type: 'string',
    value: 'DIR',
    help: `what libcni keeps goes here (default: ${defaultCacheDir})`,
  },
  json: { type: 'boolean', help: 'print errors as CNI error JSON, too, on standard output' },
} as const

const ofAttachment = {
  ifname: {
    type: 'string',
    short: 'i',
    value: 'NAME',
    help: 'interface in the container (default: $CNI_IFNAME, or eth0)',
  },
  'container-id': {
    type: 'string',
    value: 'ID',
    help: 'default: made of the path of the namespace, as cnitool does it',
  },
  args: { type: 'string', value: 'K=V;…', help: 'CNI_ARGS (default: $CNI_ARGS)' },
  'capability-args': {
    type: 'string',
    value: 'JSON',
    help: 'values for the capabilities that plugins declare (default: $CAP_ARGS)',
  },
  ...common,
} as const

/** What the arguments of all of these mean. */
export const positionalHelp = `NETWORK is a .conf or .conflist file, - for standard input, or the name of a network in the directory
$NETCONFPATH (default: /etc/cni/net.d). NETNS is the path of a network namespace, or a name that ip netns
knows.`

/** An option's value, or a variable's, or what is usual. */
export const setting = (value: string | undefined, variable: string, fallback: string): string =>
  value ?? (process.env[variable] || fallback)

/** The network that an argument names. @throws CniError */
export const loadNetwork = (argument: string): NetworkConf => {
  if (argument === '-') {
    const text = readFileSync(0, 'utf8')
    return /"plugins"\s*:/.test(text) ? parseConfList(text) : parseSingleConf(text)
  }
  if (argument.includes('/') || /\.(?:conf|conflist|json)$/.test(argument))
    return loadConfFile(resolve(argument))
  return findNetwork(setting(undefined, 'NETCONFPATH', '/etc/cni/net.d'), argument)
}

const netnsPathOf = (argument: string): string =>
  argument.includes('/') || existsSync(argument) ? resolve(argument) : `/var/run/netns/${argument}`

/** cnitool's convention, so that either can delete what the other has added. */
const containerIdOf = (netnsPath: string): string =>
  `cnitool-${createHash('sha512').update(netnsPath).digest('hex').slice(0, 20)}`

const capabilityArgsOf = (text: string): JsonObject => {
  if (text === '') return {}
  let json: unknown
  try {
    json = JSON.parse(text)
  } catch (error) {
    throw new UsageError(`--capability-args: ${(error as Error).message}`)
  }
  if (!isObject(json)) throw new UsageError('--capability-args: expected a JSON object')
  return json as JsonObject
}

interface CommonValues {
  readonly 'cni-path'?: string
  readonly 'cache-dir'?: string
  readonly json?: boolean
}

/** Runs a chain with this process as its host, stopped by SIGINT and SIGTERM. */
export const run = async (
  values: CommonValues,
  output: Output,
  makeOptions: () => Omit<ChainOptions, 'host' | 'path' | 'cacheDir' | 'signal'>,
): Promise<number> => {
  let cniVersion = ''
  try {
    const options = makeOptions()
    cniVersion = options.network.cniVersion || '0.1.0'
    const { plugins } = await import('../../plugins/index.ts')
    const added = await stoppable((signal) =>
      runChain({
        ...options,
        host: { plugins, sync: true, log: stderrLogger('linkwright'), environment: hostEnvironment() },
        path: setting(values['cni-path'], 'CNI_PATH', '/opt/cni/bin'),
        cacheDir: values['cache-dir'] ?? defaultCacheDir,
        signal,
      }),
    )
    if (added) output.out(`${printJson(added.json)}\n`)
    return 0
  } catch (error) {
    const failure = CniError.from(error)
    if (values.json) output.out(`${printJson(errorJson(failure, cniVersion))}\n`)
    else output.err(`linkwright: ${failure.msg}${failure.details ? `\n  ${failure.details}` : ''}\n`)
    return 1
  }
}

const attachmentCommand = (verb: Action, summary: string): Command<typeof ofAttachment> =>
  defineCommand({
    name: verb.toLowerCase(),
    summary,
    positionals: 'NETWORK NETNS',
    description: positionalHelp,
    options: ofAttachment,
    run: (values, [network = '', netns = ''], output) => {
      const netnsPath = netnsPathOf(netns)
      const capabilityArgs = capabilityArgsOf(setting(values['capability-args'], 'CAP_ARGS', ''))
      return run(values, output, () => ({
        verb,
        network: loadNetwork(network),
        netnsPath,
        ifName: setting(values.ifname, 'CNI_IFNAME', 'eth0'),
        containerId: values['container-id'] ?? containerIdOf(netnsPath),
        args: setting(values.args, 'CNI_ARGS', ''),
        capabilityArgs,
      }))
    },
  })

export const add = attachmentCommand('ADD', 'attach a namespace to a network and print the result')
export const del = attachmentCommand('DEL', 'detach a namespace from a network')
export const check = attachmentCommand('CHECK', 'check that an attachment is as it was made')

export const status = defineCommand({
  name: 'status',
  summary: 'tell whether a network could take attachments now',
  positionals: 'NETWORK [NETNS]',
  description: positionalHelp,
  options: common,
  run: (values, [network = ''], output) =>
    run(values, output, () => ({ verb: 'STATUS', network: loadNetwork(network) })),
})
