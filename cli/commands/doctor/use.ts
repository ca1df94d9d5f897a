/** What the networks, and the attachments that run, make of the host. */
import { lookup } from '../../../cni/fold.ts'
import type { Wanted } from './checks/binaries.ts'
import type { Forwarded } from './checks/filtering.ts'
import type { Use } from './checks/settings.ts'
import type { AttachmentFacts } from './facts/attachments.ts'
import type { NetworkFacts, PluginFacts } from './facts/conf-dir.ts'
import { type Feature, needsOf } from './features.ts'

/** Which networks need which features of the kernel. */
export const neededOf = (networks: readonly NetworkFacts[]): ReadonlyMap<Feature, readonly string[]> => {
  const needed = new Map<Feature, string[]>()
  for (const { name, plugins } of networks)
    for (const { type, conf } of plugins)
      for (const feature of needsOf(type, conf)) {
        const users = needed.get(feature) ?? []
        if (!users.includes(name)) needed.set(feature, [...users, name])
      }
  return needed
}

/** Whether the host forwards what the plugin's containers send. */
const isRouted = ({ type, conf }: PluginFacts): boolean => {
  const mode = lookup(conf, 'mode')
  if (type === 'bridge')
    return lookup(conf, 'isGateway') === true || lookup(conf, 'isDefaultGateway') === true
  return type === 'ptp' || type === 'flannel' || (type === 'ipvlan' && (mode === 'l3' || mode === 'l3s'))
}

export const forwardedOf = (networks: readonly NetworkFacts[]): readonly Forwarded[] =>
  networks
    .filter(({ plugins }) => plugins.some(isRouted))
    .map(({ name, plugins }) => ({ name, permitted: plugins.some(({ type }) => type === 'firewall') }))

/** @param attachments those that the cache knows */
export const useOf = (networks: readonly NetworkFacts[], attachments: readonly AttachmentFacts[]): Use => {
  const routed = networks.filter(({ plugins }) => plugins.some(isRouted)).map(({ name }) => name)
  const there = attachments.filter(({ namespace }) => namespace === 'there')
  const relying = there.filter(({ network }) => routed.includes(network))
  const withSbr = new Set(
    networks.filter(({ plugins }) => plugins.some(({ type }) => type === 'sbr')).map(({ name }) => name),
  )
  const containers = new Map<string, AttachmentFacts[]>()
  for (const one of there.filter(({ ifName }) => ifName !== 'lo'))
    containers.set(one.containerId, [...(containers.get(one.containerId) ?? []), one])
  return {
    routed,
    bridged: networks
      .filter(({ plugins }) => plugins.some(({ type }) => type === 'bridge' || type === 'flannel'))
      .map(({ name }) => name),
    running: {
      4: relying.filter(({ families }) => families.includes(4)).length,
      6: relying.filter(({ families }) => families.includes(6)).length,
    },
    multihomed: [...containers]
      .filter(([, all]) => all.length > 1 && !all.some(({ network }) => withSbr.has(network)))
      .map(([containerId]) => containerId),
  }
}

/** Types whose executables are looked at: all of ours, and what networks name. */
export const wantedOf = (networks: readonly NetworkFacts[], own: ReadonlySet<string>): readonly Wanted[] => {
  const named = networks.flatMap(({ plugins }) => plugins.flatMap(({ type, ipam }) => [type, ipam]))
  const types = [...new Set([...own, ...named])].filter((type) => type !== '').sort()
  return types.map((type) => ({
    type,
    own: own.has(type),
    networks: networks
      .filter(({ plugins }) => plugins.some((one) => one.type === type))
      .map(({ name }) => name),
    assigns: networks.flatMap(({ name, plugins }) =>
      plugins.filter(({ ipam }) => ipam === type).map((one) => ({ network: name, by: one.type })),
    ),
  }))
}
