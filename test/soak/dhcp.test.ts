/**
 * Containers that come and go for as long as it is told, while messages get lost, the server dies and comes back, and
 * in the second half the keeper too. In between it is quiet for a moment, and everything has to be as the leases say.
 *
 * SOAK_MINUTES: how long, 30 by default. SOAK_SEED: the same chance once more.
 */
import { randomInt } from 'node:crypto'
import { expect, test } from 'vitest'
import { daemonNode } from '../kernel/ipam/dhcp/daemon.ts'
import { kea4 } from '../support/dhcp/kea4.ts'
import { eventually } from '../support/wait.ts'
import { killedKeeper, killedServer, lossyNetwork } from './dhcp/disturbances.ts'
import { Tenant } from './dhcp/tenant.ts'
import { Chance } from './support/chance.ts'
import { holdingsOf } from './support/process.ts'
import { storm as stormOf } from './support/storm.ts'
import { Tally } from './support/tally.ts'
import { Turnstile } from './support/turnstile.ts'

const minutes = Number(process.env.SOAK_MINUTES || 30)
const seed = Number(process.env.SOAK_SEED || randomInt(2 ** 31))
const TENANTS = 8
/** Seconds. */
const LEASE = 8
/** Milliseconds between two moments of quiet, at most. */
const STORM = 40_000
/** Milliseconds for everything to be well again. */
const CALM = 60_000
/** MiB that a keeper may grow from the first moment of quiet to the last: the engine collects when it likes. */
const GROWTH = 32
/** Descriptors that come with the first use of something, and stay. */
const SLACK = 4

test(`${minutes} minutes of containers that come and go`, {
  timeout: minutes * 60_000 + 600_000,
}, async () => {
  const chance = new Chance(seed)
  const tally = new Tally()
  const node = await daemonNode()
  const { host, segment, daemon, run } = node
  const server = await kea4(segment.space, {
    leaseTime: LEASE,
    renew: 2,
    rebind: 5,
    routers: ['10.77.0.1'],
    extra: { 'decline-probation-period': LEASE },
  })
  await daemon.start()
  const atStart = holdingsOf(daemon.pid)
  const linksOf = async () => (await host.ipJson<{ ifname: string }>('link')).map(({ ifname }) => ifname)
  const links = await linksOf()
  const turnstile = new Turnstile(2)
  const tenants = await Promise.all(
    Array.from({ length: TENANTS }, (_, i) =>
      Tenant.move({ node, name: `c${i}`, chance: new Chance(seed + i + 1), turnstile, tally }),
    ),
  )

  /** All of it for a while. */
  const storm = async (disturbances: readonly (typeof killedKeeper)[], time: number): Promise<void> => {
    await stormOf(time, [
      ...tenants.map((tenant) => async (isOver: () => boolean) => {
        while (!isOver()) await tenant.step()
      }),
      ...disturbances.map(
        (disturb) => (isOver: () => boolean) => disturb({ node, server, chance, tally }, isOver),
      ),
    ])
  }

  const active = () => {
    const now = Date.now() / 1000
    return server.leases().filter(({ state, expires }) => state === 'default' && expires > now)
  }

  /** Until every container that is attached has its lease, and nobody else has one. */
  const calm = async (): Promise<void> => {
    const attached = tenants.filter(({ result }) => result)
    const leases = await eventually(
      'every container holds what its lease says',
      async () => {
        const all = await daemon.keeper.list()
        const byId = new Map(all.map((lease) => [lease.containerId, lease]))
        expect([...byId.keys()].sort()).toEqual(attached.map(({ containerId }) => containerId).sort())
        const atServer = new Set(active().map(({ address }) => address))
        for (const tenant of attached) {
          const { address, state } = byId.get(tenant.containerId)!
          expect(address, `${tenant.containerId} ${state}`).toBeDefined()
          expect(await tenant.addresses()).toEqual([address])
          expect(atServer, tenant.containerId).toContain(address!.split('/')[0])
        }
        expect(new Set(all.map(({ address }) => address)).size).toBe(all.length)
        expect(daemon.noted()).toHaveLength(all.length)
        return byId
      },
      CALM,
    )
    for (const tenant of attached) await tenant.check(leases.get(tenant.containerId)!.address!)
    const { status, stdout } = await run(
      'GC',
      { container: tenants[0]!.container },
      {
        'cni.dev/valid-attachments': attached.map(({ containerId }) => ({
          containerID: containerId,
          ifname: 'eth0',
        })),
      },
    )
    expect({ status, stdout }).toMatchObject({ status: 0 })
    expect((await daemon.keeper.list()).length).toBe(attached.length)
  }

  const memory: number[] = []
  try {
    const begin = performance.now()
    const length = minutes * 60_000
    const left = (until: number) => begin + until - performance.now()
    // The keeper lives: it must not grow.
    while (left(length / 2) > 0) {
      await storm([killedServer, lossyNetwork], Math.min(STORM, Math.max(left(length / 2), 5000)))
      await calm()
      memory.push(holdingsOf(daemon.pid).memory)
    }
    tally.add(`counters of the first keeper: ${JSON.stringify((await daemon.keeper.status()).counters)}`)
    expect(memory.at(-1)! - memory[0]!, `MiB resident: ${memory.join(', ')}`).toBeLessThan(GROWTH)
    // The keeper dies.
    while (left(length) > 0) {
      await storm([killedKeeper, killedServer, lossyNetwork], Math.min(STORM, Math.max(left(length), 5000)))
      await calm()
    }

    await Promise.all(tenants.map((tenant) => tenant.remove()))
    expect(await daemon.keeper.list()).toEqual([])
    expect(daemon.noted()).toEqual([])
    await eventually('the server has no lease any more', () => active().length === 0, (LEASE + 5) * 1000)
    expect(await linksOf()).toEqual(links)
    for (const tenant of tenants) expect(await tenant.addresses()).toBeNull()
    const descriptors = await eventually('the keeper holds nothing', () => {
      const now = holdingsOf(daemon.pid).descriptors
      expect(now.length).toBeLessThanOrEqual(atStart.descriptors.length + SLACK)
      return now
    })
    expect(descriptors.filter((target) => /^(net|packet):/.test(target))).toEqual([])
  } finally {
    console.log(
      `seed ${seed}\n${tally}\nMiB resident, in moments of quiet of the first half: ${memory.map(Math.round).join(' ')}`,
    )
  }
})
