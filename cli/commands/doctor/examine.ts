/** Looks everywhere, then judges. */
import { plugins } from '../../../plugins/index.ts'
import { checkConfDir } from './checks/conf-dir.ts'
import { checkFiltering } from './checks/filtering.ts'
import { checkKernel } from './checks/kernel.ts'
import { checkLimits } from './checks/limits.ts'
import { checkSettings } from './checks/settings.ts'
import { lookAtConfDir, networksOf } from './facts/conf-dir.ts'
import { lookAtFiltering } from './facts/filtering.ts'
import { lookAtKernel } from './facts/kernel.ts'
import { lookAtSettings } from './facts/settings.ts'
import type { Finding } from './finding.ts'
import type { Places } from './places.ts'
import { see } from './see.ts'
import { forwardedOf, neededOf, useOf } from './use.ts'

/** Milliseconds that one look may take. */
const TIMEOUT = 10_000

/** Everything that was found, in the order of the report. */
export const examine = async (places: Places): Promise<readonly Finding[]> => {
  const conf = await see(TIMEOUT, () => lookAtConfDir(places.confDir, plugins))
  const networks = networksOf(conf).filter(
    ({ name }) => places.networks.length === 0 || places.networks.includes(name),
  )
  const kernel = await lookAtKernel(TIMEOUT)
  const filtering = await lookAtFiltering(TIMEOUT)
  const settings = await lookAtSettings(TIMEOUT)
  return [
    ...checkKernel(kernel, neededOf(networks)),
    ...checkFiltering(filtering, forwardedOf(networks)),
    ...checkSettings(settings, useOf(networks, [])),
    ...checkLimits(settings),
    ...checkConfDir(conf, places.confDir, places.networks),
  ]
}
