/** `firewall`: lets a container's traffic through the host's filter tables, and keeps bridges apart. */

import { definePlugin } from '../../cni/plugin.ts'
import { chainedResult } from '../shared/chained.ts'
import { checkFailed } from '../shared/check.ts'
import { addRules, missingRules } from './add.ts'
import { firewallConf } from './conf.ts'
import { collect, removeAttachment } from './remove.ts'
import { checkStatus } from './status.ts'

const NO_RESULT = 'missing prevResult from earlier plugin'

/** The firewall plugin. */
export const firewall = definePlugin({
  type: 'firewall',
  kind: 'interface',
  versions: ['0.4.0', '1.0.0', '1.1.0'],
  conf: firewallConf,

  async add(attachment) {
    const result = chainedResult(attachment, NO_RESULT)
    await addRules(attachment, result)
    return result
  },

  async check(attachment) {
    const missing = await missingRules(attachment, chainedResult(attachment, NO_RESULT))
    if (missing.length > 0)
      throw checkFailed(
        missing[0]!,
        [...missing.slice(1), '`linkwright reconcile` makes rules again that somebody has flushed'].join(
          '; ',
        ),
      )
  },

  del: removeAttachment,
  status: checkStatus,
  gc: collect,

  async repair(attachment) {
    const result = chainedResult(attachment, NO_RESULT)
    const missing = await missingRules(attachment, result)
    if (missing.length > 0) await addRules(attachment, result)
    return missing
  },
})
