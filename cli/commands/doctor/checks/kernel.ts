/** Whether the kernel has what attachments are made of. */
import type { KernelFacts, Tried } from '../facts/kernel.ts'
import { type Feature, type FeatureInfo, features } from '../features.ts'
import { type Finding, failure, isForbidden, ok, unknown, warning } from '../finding.ts'

/** What to do about a missing feature. */
const adviceOf = ({ module, option, partial }: FeatureInfo, { modules, release }: KernelFacts): string => {
  const state = modules.states[module] ?? 'none'
  if (partial && state !== 'none') return `it takes a kernel that is built with ${option}`
  if (state === 'file') return `load the module: modprobe ${module} (${option})`
  if (!modules.known)
    return `load the module ${module} on the host (modprobe ${module}); without it, install a kernel with ${option}`
  return `kernel ${release} has no module ${module} (${option}): install the rest of its modules, or another kernel`
}

/** Without a try: what the lists of modules say. */
const fromLists = ({ module, partial }: FeatureInfo, { modules }: KernelFacts): Tried | undefined => {
  const state = modules.states[module] ?? 'none'
  if (state === 'none')
    return modules.known ? { outcome: 'missing', why: 'not among the modules' } : undefined
  return partial ? undefined : { outcome: 'works' }
}

/** @param needed which features are needed, and by which networks */
export const checkKernel = (
  kernel: KernelFacts,
  needed: ReadonlyMap<Feature, readonly string[]>,
): readonly Finding[] =>
  (Object.keys(features) as Feature[]).map((feature) => {
    const info = features[feature]
    const { id, title, module, option, optional } = info
    const { tried, untried } = kernel
    const users = needed.get(feature) ?? []
    const result = tried[feature] ?? fromLists(info, kernel)
    const facts = {
      module,
      option,
      moduleState: kernel.modules.states[module] ?? 'none',
      tried: tried[feature] !== undefined,
      neededBy: users,
      ...(result && result.outcome !== 'works' && { kernelSays: result.why }),
    }
    const forWhom = users.length > 0 ? `, needed by ${users.join(', ')}` : ''
    if (!result)
      return unknown(id, `${title}: not tried: ${untried}`, {
        advice: isForbidden(untried) ? 'run it as root, to have it tried' : undefined,
        facts,
      })
    if (result.outcome === 'works') return ok(id, title, { facts })
    const tell = users.length > 0 ? failure : warning
    if (result.outcome === 'error')
      return tell(id, `${title}${forWhom}: ${result.why}`, {
        advice: 'the kernel has it, perhaps, but could not make one now: look at dmesg',
        facts,
      })
    if (optional) return ok(id, `this kernel has no ${title}, which no plugin here needs`, { facts })
    return tell(id, `this kernel has no ${title}${forWhom}`, { advice: adviceOf(info, kernel), facts })
  })
