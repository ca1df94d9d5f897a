/** A node in miniature whose leases are kept in this process, and the LAN that it is plugged into. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { onTestFinished } from 'vitest'
import type { JsonObject } from '../../../../cni/types.ts'
import { Journal } from '../../../../ipam/dhcp/journal.ts'
import { Keeper, type KeeperOptions } from '../../../../ipam/dhcp/keeper.ts'
import { createDhcp } from '../../../../ipam/dhcp/plugin.ts'
import { plugins } from '../../../../plugins/index.ts'
import { segment } from '../../../support/dhcp/segment.ts'
import { type Node, node as makeNode } from '../../plugins/node.ts'

const silence = { debug() {}, info() {}, warn() {}, error() {} }

/** A folder that goes with the test. */
export const folder = (): string => {
  const path = mkdtempSync(join(tmpdir(), 'linkwright-dhcp-'))
  onTestFinished(() => rmSync(path, { recursive: true, force: true }))
  return path
}

/** A keeper that ends with the test; what it noted stays in `path`. */
export const makeKeeper = (path: string, options: Partial<KeeperOptions> = {}): Keeper => {
  const keeper = new Keeper({
    journal: new Journal(path),
    log: silence,
    software: 'test',
    firstTimeout: 500,
    ...options,
  })
  onTestFinished(() => keeper.stop())
  return keeper
}

/** Lets the node's plugins get their leases from a keeper. */
export const useKeeper = (node: Node, keeper: Keeper): void => {
  const dhcp = createDhcp({ keeper })
  node.options = { plugins: new Map([...plugins, [dhcp.type, dhcp]]) }
}

/** A node with the interface `lan` on a segment, and a keeper for its leases. */
export const keeperNode = async (options: Partial<KeeperOptions> = {}) => {
  const node = await makeNode()
  const lan = await segment()
  const plug = await lan.plug(node.host, 'lan')
  const path = folder()
  const keeper = makeKeeper(path, options)
  useKeeper(node, keeper)
  const conf = (ipam: JsonObject = {}, more: JsonObject = {}): JsonObject => ({
    type: 'macvlan',
    master: 'lan',
    ...more,
    ipam: { type: 'dhcp', ...ipam },
  })
  return { node, segment: lan, plug, keeper, folder: path, conf }
}
