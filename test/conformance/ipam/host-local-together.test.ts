/** Both plugins on one directory: in turns, and at the same time. */
import { mkdirSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import type { JsonObject } from '../../../cni/types.ts'
import { createHostLocal, hostLocal } from '../../../ipam/index.ts'
import { binDirs } from '../../support/plugin.ts'
import { privateHost } from '../../support/space.ts'
import * as own from '../../unit/ipam/harness.ts'
import { dataDir, goDir, Peer } from './peers.ts'

const reservations = (dir: string): string[] =>
  readdirSync(dir)
    .filter((name) => name !== 'lock' && !name.startsWith('last_reserved_ip.'))
    .sort()

describe('in turns', () => {
  const subnet = '10.1.0.0/24'
  const conf: JsonObject = {
    cniVersion: '1.0.0',
    name: 'net',
    type: 'bridge',
    ipam: { type: 'host-local', subnet },
  }

  test('each gives back what the other took, and goes on where the other stopped', async () => {
    const host = await privateHost()
    const [go, ours] = [new Peer(host, goDir), new Peer(host, binDirs.ours)]
    const dir = host.file(join(dataDir, 'net'))
    let expected = 2
    // Enough for an index, which the other one knows nothing of.
    for (let i = 0; i < 30; i++) {
      const { result, stdout } = await (i % 3 === 0 ? go : ours).run('host-local', {
        command: 'ADD',
        conf,
        containerId: `c${i}`,
      })
      expect(result?.ips?.[0]?.address, stdout).toBe(`10.1.0.${expected++}/24`)
    }
    for (let i = 0; i < 30; i++)
      for (const peer of i % 2 === 0 ? [go, ours] : [ours, go]) {
        const operation = { conf, containerId: `c${i}` }
        const check = await peer.run('host-local', { command: 'CHECK', ...operation })
        const del = await peer.run('host-local', { command: 'DEL', ...operation })
        expect(del.status, del.stdout).toBe(0)
        expect(reservations(dir)).toHaveLength(29 - i)
        // The second one finds nothing any more.
        expect(check.error?.msg ?? '').toBe(
          peer === (i % 2 === 0 ? go : ours)
            ? ''
            : `host-local: Failed to find address added by container c${i}`,
        )
      }
  })

  test('neither gives an attachment a second address', async () => {
    const host = await privateHost()
    const [go, ours] = [new Peer(host, goDir), new Peer(host, binDirs.ours)]
    for (const [first, second] of [
      [go, ours],
      [ours, go],
    ] as const) {
      const call = { conf, containerId: first === go ? 'a' : 'b' }
      expect((await first.run('host-local', { command: 'ADD', ...call })).status).toBe(0)
      const { error } = await second.run('host-local', { command: 'ADD', ...call })
      expect(error?.msg).toMatch(/has been allocated to [ab], duplicate allocation is not allowed$/)
    }
  })
})

describe('at the same time', () => {
  test('50 of ours in process and 20 of theirs get different addresses', async () => {
    const data = own.scratch()
    const conf: JsonObject = {
      cniVersion: '1.0.0',
      name: 'net',
      type: 'bridge',
      ipam: {
        type: 'host-local',
        dataDir: data,
        ranges: [[{ subnet: '10.1.0.0/24' }], [{ subnet: '2001:db8::/64' }]],
      },
    }
    // So that indexes come and go meanwhile.
    mkdirSync(join(data, 'net'))
    for (let i = 2; i < 22; i++) writeFileSync(join(data, 'net', `10.1.0.${i}`), `before${i}\r\neth0`)
    const host = await privateHost()
    const go = new Peer(host, goDir)
    const theirs = async (i: number): Promise<string[]> => {
      const { result, stdout } = await go.run('host-local', { command: 'ADD', conf, containerId: `go${i}` })
      expect(result?.ips, stdout).toHaveLength(2)
      return result!.ips!.map(({ address }) => address)
    }
    // Two programs of ours, as far as locks and queues are concerned.
    const plugins = [hostLocal, createHostLocal()]
    const ours = async (i: number): Promise<string[]> =>
      ((await own.add(plugins[i % 2]!, { conf, containerId: `own${i}` })).ips ?? []).map(
        ({ address }) => address,
      )
    const taken = await Promise.all([
      ...Array.from({ length: 20 }, (_, i) => theirs(i)),
      ...Array.from({ length: 50 }, (_, i) => ours(i)),
    ])
    expect(new Set(taken.flat()).size).toBe(140)
    expect(reservations(join(data, 'net'))).toHaveLength(160)

    const removed = await Promise.all([
      ...Array.from({ length: 20 }, (_, i) => own.del(plugins[i % 2]!, { conf, containerId: `go${i}` })),
      ...Array.from({ length: 10 }, (_, i) =>
        go.run('host-local', { command: 'DEL', conf, containerId: `own${i}` }),
      ),
      ...Array.from({ length: 40 }, (_, i) =>
        own.del(plugins[i % 2]!, { conf, containerId: `own${i + 10}` }),
      ),
    ])
    for (const run of removed) expect(run?.status ?? 0).toBe(0)
    expect(reservations(join(data, 'net'))).toHaveLength(20)
  })

  test('50 of our executables and 10 of theirs get different addresses', { timeout: 120_000 }, async () => {
    const host = await privateHost()
    const conf: JsonObject = {
      cniVersion: '1.0.0',
      name: 'net',
      type: 'bridge',
      ipam: { type: 'host-local', subnet: '10.1.0.0/24' },
    }
    const runs = await Promise.all(
      Array.from({ length: 60 }, (_, i) =>
        new Peer(host, i % 6 === 0 ? goDir : binDirs.ours).run('host-local', {
          command: 'ADD',
          conf,
          containerId: `c${i}`,
        }),
      ),
    )
    const taken = runs.map(({ result, stdout }) => result?.ips?.[0]?.address ?? stdout)
    expect(new Set(taken).size).toBe(60)
    for (const address of taken) expect(address).toMatch(/^10\.1\.0\.[0-9]+\/24$/)
  })
})
