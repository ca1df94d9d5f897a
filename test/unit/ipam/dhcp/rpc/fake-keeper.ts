/** A keeper that keeps nothing but a record of what it was asked. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { onTestFinished } from 'vitest'
import { CniError } from '../../../../../cni/error.ts'
import type { Result } from '../../../../../cni/types.ts'
import type {
  KeeperStatus,
  KeptLease,
  LeaseCall,
  LeaseKeeper,
} from '../../../../../ipam/dhcp/lease-keeper.ts'

export const call: LeaseCall = {
  containerId: 'c1',
  ifName: 'eth0',
  netns: '/run/netns/blue',
  args: 'K8S_POD_NAME=web-0',
  conf: { cniVersion: '1.0.0', name: 'lan', type: 'macvlan', ipam: { type: 'dhcp' } },
}

export const result: Result = {
  ips: [{ address: '192.168.1.5/24', gateway: '192.168.1.1' }],
  routes: [
    { dst: '0.0.0.0/0', gw: '192.168.1.1', priority: 7 },
    { dst: '10.0.0.0/8', gw: '0.0.0.0', scope: 253, mtu: 1400 },
  ],
  dns: { nameservers: ['192.168.1.1'], domain: 'example', search: ['a.example', 'b.example'] },
}

export const status: KeeperStatus = { pid: 7, version: '1.2.3', leases: 1, counters: { bound: 2 } }

export const lease: KeptLease = {
  containerId: 'c1',
  ifName: 'eth0',
  network: 'lan',
  netns: '/run/netns/blue',
  version: 4,
  state: 'BOUND',
  address: '192.168.1.5/24',
  expiresAt: 1_700_000_000_000,
}

/** Methods answer at once, unless others are given. */
export const fakeKeeper = (over: Partial<LeaseKeeper> = {}) => {
  const asked: unknown[][] = []
  const keeper: LeaseKeeper = {
    allocate: async () => result,
    check: async () => result,
    release: async () => {},
    gc: async () => {},
    status: async () => status,
    list: async () => [lease],
    ...over,
  }
  const record: LeaseKeeper = {
    allocate: (call, signal) => note(['allocate', call], () => keeper.allocate(call, signal)),
    check: (call) => note(['check', call], () => keeper.check(call)),
    release: (call) => note(['release', call], () => keeper.release(call)),
    gc: (network, valid) => note(['gc', network, valid], () => keeper.gc(network, valid)),
    status: () => note(['status'], () => keeper.status()),
    list: () => note(['list'], () => keeper.list()),
  }
  const note = <T>(what: unknown[], work: () => T): T => {
    asked.push(what)
    return work()
  }
  return { keeper: record, asked }
}

/** Until it is told to give up; `started` resolves when it has begun. */
export const stubborn = () => {
  let begin: () => void = () => {}
  const started = new Promise<void>((resolve) => {
    begin = resolve
  })
  let end: (reason: unknown) => void = () => {}
  const ended = new Promise<unknown>((resolve) => {
    end = resolve
  })
  const allocate = (_: LeaseCall, signal?: AbortSignal): Promise<Result> =>
    new Promise((_, reject) => {
      signal?.addEventListener('abort', () => {
        end(signal.reason)
        reject(signal.reason)
      })
      begin()
    })
  return { allocate, started, ended }
}

/** A folder for sockets; removed at the end of the test. */
export const folder = (): string => {
  const path = mkdtempSync(join(tmpdir(), 'linkwright-rpc-'))
  onTestFinished(() => rmSync(path, { recursive: true, force: true }))
  return path
}

/** What it rejects with, as a CniError. */
export const failure = async (work: Promise<unknown>): Promise<CniError> => {
  try {
    await work
  } catch (error) {
    if (error instanceof CniError) return error
    throw new Error('no CniError', { cause: error })
  }
  throw new Error('it did not fail')
}
