/** What the tests of DHCPv6 share: a node on a LAN with a router, and an interface's IPv6 as the kernel has it. */
import { expect } from 'vitest'
import type { JsonObject } from '../../../../cni/types.ts'
import { capture } from '../../../support/dhcp/capture.ts'
import { type RouterOptions, router } from '../../../support/dhcp/router.ts'
import { linkLocal } from '../../../support/dhcp/segment.ts'
import type { Container, Space } from '../../../support/space.ts'
import { eventually } from '../../../support/wait.ts'
import type { Node } from '../../plugins/node.ts'
import { type KeeperNodeOptions, keeperNode } from './node.ts'

export interface SceneOptions extends KeeperNodeOptions {
  /** Null: none. */
  readonly router?: RouterOptions | null | undefined
}

/** A container whose link-local addresses are good at once. */
export const quick = async (node: Node): Promise<Container> => {
  const container = await node.host.container()
  await container.must('sh', ['-ec', 'echo 0 >/proc/sys/net/ipv6/conf/default/accept_dad'])
  return container
}

/** A node, a LAN with a router, and an eye on what passes on the server's side. */
export const scene6 = async ({ router: says = {}, ...options }: SceneOptions = {}) => {
  const scene = await keeperNode(options)
  const { node, segment, conf } = scene
  const [advertiser, frames, container] = await Promise.all([
    says && router(segment, says),
    capture(segment.space, segment.interface),
    quick(node),
  ])
  const six = (ipam: JsonObject = {}, more: JsonObject = {}): JsonObject =>
    conf({ version: 6, ...ipam }, more)
  /** A call as keepers get it. */
  const callOf = (one: JsonObject) => ({
    ...{ containerId: 'cid-1', ifName: 'eth0', netns: container.path, args: '' },
    conf: { name: 'net', ...one },
  })
  return { ...scene, router: advertiser, frames, container, six, callOf }
}

/** IPv6 addresses of an interface, link-local ones left out, as `fd77::100/128`. */
export const ipv6Of = async (space: Space, name = 'eth0'): Promise<string[]> => {
  const [link] = await space.ipJson<{
    addr_info: readonly { local: string; prefixlen: number; scope: string }[]
  }>('-6', 'addr', 'show', 'dev', name)
  return (link?.addr_info ?? [])
    .filter(({ scope }) => scope !== 'link')
    .map(({ local, prefixlen }) => `${local}/${prefixlen}`)
}

/** Until an interface has exactly these IPv6 addresses. `deadline` in milliseconds. */
export const hasIpv6 = (space: Space, expected: readonly string[], deadline?: number): Promise<unknown> =>
  eventually(
    `eth0 has ${expected.join(', ') || 'no address'}`,
    async () => {
      const now = await ipv6Of(space)
      if (JSON.stringify(now) !== JSON.stringify(expected)) throw new Error(JSON.stringify(now))
      return true
    },
    deadline,
  )

export interface DefaultRoute {
  readonly gateway: string
  /** `ra`: the kernel's, by what a router has said. */
  readonly protocol: string
  readonly metric: number
  /** Seconds. */
  readonly expires?: number
}

/** IPv6 default routes of a namespace. */
export const defaultRoutes = async (space: Space): Promise<DefaultRoute[]> => {
  const all = await space.ipJson<DefaultRoute>('-6', 'route', 'show', 'default')
  // It does not print what it makes routes as itself.
  return all.map((one) => ({ ...one, protocol: one.protocol ?? 'boot' }))
}

/** The route that the kernel makes for the LAN's router, and ends with it. */
export const advertised = { gateway: linkLocal, protocol: 'ra', metric: 1024, expires: expect.any(Number) }
