/**
 * Attachments that come and go for as long as it is told: by launchers and their daemon, then by the library. Callers
 * lose patience or are killed, containers vanish, and for a part of the time the process that does the work dies again
 * and again. In between it is quiet for a moment: everything is deleted, and the node has to be what it was.
 *
 * SOAK_MINUTES: how long, 30 by default. SOAK_SEED: the same chance once more. `npm run soak -- attachments` is this
 * alone.
 */
import { randomInt } from 'node:crypto'
import { setTimeout as pause } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { eventually } from '../support/wait.ts'
import { Addresses } from './attachments/addresses.ts'
import type { Door } from './attachments/door.ts'
import { heldBy, inventoryOf } from './attachments/inventory.ts'
import { Launchers } from './attachments/launchers.ts'
import { Library } from './attachments/library.ts'
import { FAR, MASTER, networksFor } from './attachments/networks.ts'
import { type SoakNode, soakNode } from './attachments/node.ts'
import { Tenant } from './attachments/tenant.ts'
import { Chance } from './support/chance.ts'
import { Figures } from './support/figures.ts'
import { storm, unless, type Weather } from './support/storm.ts'
import { Tally } from './support/tally.ts'

const minutes = Number(process.env.SOAK_MINUTES || 30)
const seed = Number(process.env.SOAK_SEED || randomInt(2 ** 31))
const TENANTS = 20
/** Milliseconds between two moments of quiet, at most. */
const STORM = 35_000
/** Milliseconds for a node to come to rest. */
const CALM = 30_000
/** MiB that the process may grow from the first moment of quiet to the last: the engine collects when it likes. */
const GROWTH = 32
/** Threads that come with the first use of something, and stay. */
const SLACK = 4

interface Part {
  readonly name: string
  readonly open: (node: SoakNode) => Door | Promise<Door>
  /** Of all the time, while the process lives. */
  readonly living: number
  /** The same, while it dies again and again. */
  readonly dying: number
}

const parts: readonly Part[] = [
  { name: 'launchers and daemon', open: (node) => new Launchers(node), living: 0.45, dying: 0.2 },
  { name: 'the library', open: (node) => Library.of(node), living: 0.25, dying: 0.1 },
]

test.each(parts)('$name', { timeout: minutes * 60_000 + 600_000 }, async ({ open, living, dying }) => {
  const chance = new Chance(seed)
  const tally = new Tally()
  const memory = new Figures()
  const descriptors = new Figures()
  let served = 0
  const node = await soakNode()
  const { host } = node
  const door = await open(node)
  const networks = networksFor(TENANTS)
  const addresses = new Addresses()
  const tenants: Tenant[] = []
  for (let number = 0; number < TENANTS; number++)
    tenants.push(
      await Tenant.move({
        ...{ node, door, networks, addresses, number, tally, all: tenants },
        chance: new Chance(seed + number + 1),
      }),
    )
  await door.start()

  // What the first attachment of a network makes, and no DEL takes away: bridges, tables, folders.
  await Promise.all(networks.map((network, i) => tenants[i]!.visit(network)))
  const before = await eventually('the node is at rest', () => inventoryOf(host))
  expect(before.files.filter((line) => /\/networks\/[a-z]+\/[\da-f.:]+$/.test(line))).toEqual([])
  const links = await host.ipJson<{ ifname: string }>('link', 'show')
  expect(links.map(({ ifname }) => ifname).sort()).toEqual(
    ['chain0', 'dual0', FAR, 'lo', 'nat0', 'switch0', MASTER].sort(),
  )

  const isAsBefore = (at: string) =>
    eventually(
      at,
      async () => {
        expect(await inventoryOf(host)).toEqual(before)
        return true
      },
      CALM,
    )

  /** All go, and nothing is left. GC then finds nothing. */
  const calm = async (): Promise<void> => {
    await Promise.all(tenants.map((tenant) => tenant.removeAll()))
    await isAsBefore('the node is as it was before')
    await Promise.all(networks.map((network, i) => tenants[i]!.collect(network)))
    await isAsBefore('a GC changes nothing')
  }

  const deaths: Weather = async (isOver) => {
    for (;;) {
      await unless(isOver, chance.between(500, 6000))
      if (isOver()) return
      const signal = chance.is(0.6) ? 'SIGKILL' : 'SIGTERM'
      tally.add(`${door.name}: ${signal}`)
      await door.end(signal)
      await pause(chance.between(0, 1500))
      await door.start()
    }
  }

  const visits = tenants.map(
    (tenant): Weather =>
      async (isOver) => {
        while (!isOver()) await tenant.step()
      },
  )

  /** @param length milliseconds */
  const season = async (length: number, weather: readonly Weather[], atRest: () => Promise<void>) => {
    const end = performance.now() + length
    for (let left = length; left > 0; left = end - performance.now()) {
      await storm(Math.min(STORM, Math.max(left, 5000)), weather)
      await calm()
      await atRest()
      const { memory } = heldBy(door.pid)
      console.log(`${door.name}: quiet, ${tally.total} calls and events so far, ${memory.toFixed(0)} MiB`)
    }
  }

  try {
    await calm()
    const first = heldBy(door.pid)
    await season(living * minutes * 60_000, visits, async () => {
      const now = await eventually('the process holds what it held before', () => {
        const held = heldBy(door.pid)
        expect(held).toMatchObject({ kinds: first.kinds, children: [] })
        expect(held.threads).toBeLessThanOrEqual(first.threads + SLACK)
        return held
      })
      memory.add(now.memory)
      descriptors.add(Object.values(now.kinds).reduce((sum, count) => sum + count, 0))
    })
    served = await door.served()
    expect(served).toBeGreaterThan(0)
    expect(memory.last - memory.first, `MiB resident: ${memory}`).toBeLessThan(GROWTH)
    await season(dying * minutes * 60_000, [...visits, deaths], async () => {
      expect(heldBy(door.pid).children).toEqual([])
    })
    expect(door.complaints()).toEqual([])
  } catch (error) {
    // At once: the runner tells it at the end, which can be half an hour away.
    console.log(`${door.name}: ${error}`)
    throw error
  } finally {
    console.log(
      [
        `seed ${seed}`,
        `${tally}`,
        `served by the process while it lived: ${served}`,
        `MiB resident, in moments of quiet: ${memory}`,
        `descriptors then: ${descriptors}`,
      ].join('\n'),
    )
  }
})
