/** Everything that may be left behind on a node, as far as it can be seen. */
import { readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { expect } from 'vitest'
import type { PrivateHost } from '../../support/space.ts'
import { kernelState } from '../../support/state.ts'
import { settled } from '../../support/wait.ts'
import { type Holdings, holdingsOf } from '../support/process.ts'

/** host-local's index, one file a network: it comes when there is much to be found, and stays. */
const INDEX = /^[df] \/var\/lib\/cni\/networks\/\.linkwright(\/[a-z]+)?$/

/** Files below `/run` and `/var/lib`, names of namespaces, reservations and caches among them. */
const filesOf = async (host: PrivateHost): Promise<string[]> => {
  const text = await host.must('find', ['/run', '/var/lib', '-mindepth', '1', '-printf', '%y %p\\n'])
  return text
    .split('\n')
    .filter((line) => !INDEX.test(line))
    .sort()
}

const linkOf = (path: string): string => {
  try {
    return readlinkSync(path)
  } catch {
    return ''
  }
}

const commandOf = (pid: string): string => {
  try {
    return readFileSync(`/proc/${pid}/comm`, 'utf8').trim()
  } catch {
    return ''
  }
}

/** Names of the programs that see the host's files. */
const programsOf = (host: PrivateHost): string[] => {
  const mounts = linkOf(`/proc/${host.pid}/ns/mnt`)
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name) && linkOf(`/proc/${name}/ns/mnt`) === mounts)
    .map(commandOf)
    .filter((name) => name !== '')
    .sort()
}

/** What belongs to the host. @throws Error while a bridge, which has no port any more, does not know it yet */
export const inventoryOf = async (host: PrivateHost) => {
  await settled(host)
  const bridges = await host.ipJson<{ operstate: string }>('link', 'show', 'type', 'bridge')
  expect(new Set(bridges.map(({ operstate }) => operstate))).toEqual(new Set(['DOWN']))
  return { kernel: await kernelState(host), files: await filesOf(host), programs: programsOf(host) }
}

/** How many descriptors of each kind: `{ "socket:": 3, "/dev/null": 1 }`. */
export const kindsOf = ({ descriptors }: Holdings): Record<string, number> => {
  const kinds: Record<string, number> = {}
  for (const target of descriptors) {
    const kind = target.replace(/\d+/g, '')
    kinds[kind] = (kinds[kind] ?? 0) + 1
  }
  return kinds
}

/** What the process that does the work holds, as it can be compared. */
export const heldBy = (pid: number | null) => {
  const holdings = holdingsOf(pid)
  const { memory, threads, children } = holdings
  return { memory, threads, children, kinds: kindsOf(holdings) }
}
