/** What goes wrong on a node and on its network. */
import { setTimeout as pause } from 'node:timers/promises'
import type { Kea4 } from '../../support/dhcp/kea4.ts'
import { dropping } from '../../support/dhcp/traffic.ts'
import type { Chance } from '../support/chance.ts'
import { unless } from '../support/storm.ts'
import type { Tally } from '../support/tally.ts'
import type { SoakNode } from './tenant.ts'

export interface DisturbanceOptions {
  readonly node: SoakNode
  readonly server: Kea4
  readonly chance: Chance
  readonly tally: Tally
}

/** Again and again until `isOver`, which it has to ask often. */
type Disturbance = (options: DisturbanceOptions, isOver: () => boolean) => Promise<void>

/** SIGKILL, and after a moment the next one. */
export const killedKeeper: Disturbance = async ({ node, chance, tally }, isOver) => {
  for (;;) {
    await unless(isOver, chance.between(500, 6000))
    if (isOver()) return
    tally.add('keeper killed')
    await node.daemon.kill()
    await pause(chance.between(0, 1500))
    await node.daemon.start()
  }
}

/** Away for longer than a lease lasts, sometimes. */
export const killedServer: Disturbance = async ({ server, chance, tally }, isOver) => {
  for (;;) {
    await unless(isOver, chance.between(4000, 12_000))
    if (isOver()) return
    tally.add('server killed')
    await server.kill()
    await unless(isOver, chance.between(0, 10_000))
    await server.start()
  }
}

/** Some messages of DHCP get lost, in both directions. */
export const lossyNetwork: Disturbance = async ({ node, chance, tally }, isOver) => {
  for (;;) {
    await unless(isOver, chance.between(1000, 6000))
    if (isOver()) return
    const rule = await dropping(node.segment, { chance: chance.between(0.1, 0.6) })
    await unless(isOver, chance.between(2000, 8000))
    for (let hits = await rule.hits(); hits > 0; hits--) tally.add('message lost')
    await rule.remove()
  }
}
