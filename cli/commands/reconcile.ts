import { findNetwork, type NetworkConf } from '../../cni/conflist.ts'
import { CniError } from '../../cni/error.ts'
import { printJson } from '../../cni/json.ts'
import { type Reconciled, reconcile as reconcileAll } from '../../cni/reconcile.ts'
import type { JsonObject } from '../../cni/types.ts'
import { defineCommand } from '../command.ts'
import { hostEnvironment } from '../environment.ts'
import { stderrLogger } from '../log.ts'
import { stoppable } from '../stoppable.ts'
import { common, setting } from './network.ts'

const linesOf = ({ network, containerId, ifName, repairs, skipped }: Reconciled): string[] => {
  const who = `${network} ${containerId} ${ifName}`
  if (skipped !== null) return [`${who}: left alone: ${skipped}`]
  return repairs.flatMap(({ type, missing }) => missing.map((what) => `${who}: ${type}: made again: ${what}`))
}

const jsonOf = ({ network, containerId, ifName, repairs, skipped, errors }: Reconciled): JsonObject => ({
  network,
  containerId,
  ifName,
  repairs: repairs.map(({ type, missing }) => ({ type, missing })),
  skipped,
  errors: errors.map(({ code, msg, details }) => ({ code, msg, details: details || undefined })),
})

/** Networks that the cache may have nothing of at the moment. */
const find = (name: string): NetworkConf =>
  findNetwork(setting(undefined, 'NETCONFPATH', '/etc/cni/net.d'), name)

/** Why a network that no attachment is of is none; null where it is one. */
const whyUnknown = (network: string): string | null => {
  try {
    find(network)
    return null
  } catch (error) {
    return `there is no attachment to ${network} in the cache, and ${CniError.from(error).msg}`
  }
}

export const reconcile = defineCommand({
  name: 'reconcile',
  summary: 'make NAT, port mappings and firewall rules again that somebody has flushed',
  positionals: '[NETWORK]',
  description: `For after firewall-cmd --reload, nft flush ruleset and the like, while containers go on running. What they
should have is known from the cache of attachments, which container runtimes keep too. Prints what was missing;
what is in place is not touched. NETWORK is the name of the only network to look at.

linkwright check tells beforehand whether something of an attachment is missing.`,
  options: {
    ...common,
    json: { type: 'boolean', help: 'print what became of each attachment as JSON' },
    quiet: { type: 'boolean', short: 'q', help: 'say nothing of attachments that were left alone' },
  },
  run: async (values, [network], output) => {
    const { plugins } = await import('../../plugins/index.ts')
    const outcomes = await stoppable((signal) =>
      reconcileAll({
        host: { plugins, sync: true, log: stderrLogger('linkwright'), environment: hostEnvironment() },
        path: setting(values['cni-path'], 'CNI_PATH', '/opt/cni/bin'),
        cacheDir: values['cache-dir'],
        network,
        findNetwork: find,
        signal,
      }),
    )
    const unknown = network !== undefined && outcomes.length === 0 ? whyUnknown(network) : null
    if (values.json) output.out(`${printJson(outcomes.map(jsonOf))}\n`)
    else
      for (const outcome of outcomes.filter(({ skipped }) => !(values.quiet && skipped !== null)))
        for (const line of linesOf(outcome)) output.out(`${line}\n`)
    const failed = outcomes.filter(({ errors }) => errors.length > 0)
    for (const { network: name, containerId, ifName, errors } of failed)
      for (const { msg, details } of errors)
        output.err(`linkwright: ${name} ${containerId} ${ifName}: ${msg}${details ? `\n  ${details}` : ''}\n`)
    if (unknown !== null) {
      output.err(`linkwright: ${unknown}\n`)
      return 1
    }
    const repaired = outcomes.filter(({ repairs }) => repairs.length > 0).length
    if (!values.json)
      output.out(`${outcomes.length} attachments, ${repaired} repaired, ${failed.length} failed\n`)
    return failed.length > 0 ? 1 : 0
  },
})
