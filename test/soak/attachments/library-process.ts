/**
 * A program that makes attachments by the library, in its own process: what `Library` runs. A line of JSON in is a
 * call, a line out its outcome. Ends with its standard input.
 */
import { createInterface } from 'node:readline'
import { CniError, openHost, parseConfList, runChain } from '../../../cni/index.ts'
import { plugins } from '../../../plugins/index.ts'
import type { Call, Outcome } from './door.ts'
import { textOf } from './networks.ts'

/** With this it is known when it listens. */
const READY = 'ready'

const host = openHost({ plugins, environment: { PATH: process.env.PATH ?? '' } })

const carryOut = async (call: Call): Promise<Outcome> => {
  const { verb, network, attachment, netns, portMappings, valid, giveUp } = call
  const abort = new AbortController()
  const timer = giveUp && setTimeout(() => abort.abort(new Error('the caller has given up')), giveUp.after)
  try {
    const added = await runChain({
      verb,
      network: parseConfList(textOf(network)),
      host,
      containerId: attachment?.containerID,
      ifName: attachment?.ifname,
      netnsPath: netns,
      capabilityArgs: portMappings ? { portMappings } : {},
      valid: valid?.map(({ containerID, ifname }) => ({ containerId: containerID, ifName: ifname })),
      signal: abort.signal,
    })
    if (abort.signal.aborted) return { code: 'given up', text: '' }
    return {
      code: 0,
      text: '',
      ...(added ? { result: added.json as unknown as NonNullable<Outcome['result']> } : {}),
    }
  } catch (error) {
    if (abort.signal.aborted) return { code: 'given up', text: '' }
    const { code, msg, details } = CniError.from(error)
    return { code, text: `${msg}; ${details}` }
  } finally {
    clearTimeout(timer)
  }
}

const say = (what: unknown): void => void process.stdout.write(`${JSON.stringify(what)}\n`)

createInterface({ input: process.stdin })
  .on('line', (line) => {
    const { id, call } = JSON.parse(line) as { id: number; call: Call }
    void carryOut(call).then((outcome) => say({ id, outcome }))
  })
  .on('close', () => process.exit(0))
say(READY)
