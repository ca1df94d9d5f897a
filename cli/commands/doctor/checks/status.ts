/** Whether each network could take attachments now, as its plugins see it. */
import { codes } from '../../../../cni/error.ts'
import type { StatusFacts } from '../facts/status.ts'
import { type Finding, failure, ok, unknown, warning } from '../finding.ts'

const adviceFor = (network: string): string => `linkwright status ${network} asks again`

/** @param privileged false: a plugin that says no may only have been kept from looking */
export const checkStatus = (answers: readonly StatusFacts[], privileged: boolean): readonly Finding[] =>
  answers.map(({ network, index, type, answer }) => {
    const id = `network.status.${network}.${index}`
    const facts = { network, plugin: index, type, code: answer?.code ?? null }
    if (!answer)
      return ok(
        id,
        `${network}: ${type} was not asked: its configuration is broken, STATUS is not for its version, or others than root can change what it executes`,
        {
          facts,
        },
      )
    const { code, problem } = answer
    if (!problem) return ok(id, `${network}: ${type} is ready`, { facts })
    if (!privileged)
      return unknown(id, `${network}: ${type}: ${problem.msg}`, {
        advice: 'run it as root, to be sure',
        facts,
      })
    // Code 51: an ADD works, but what it makes reaches less than it should.
    const tell = code === codes.limitedConnectivity ? warning : failure
    return tell(id, `${network}: ${type}: ${problem.msg}`, {
      advice: problem.details ?? adviceFor(network),
      facts,
    })
  })
