/** A node on which pods come and go, many at once. */
import { readdirSync } from 'node:fs'
import { expect } from 'vitest'
import { binding } from '../../../native/binding.ts'
import { type KernelState, kernelState } from '../../support/state.ts'
import { eventually, settled } from '../../support/wait.ts'
import { type Caller, callersOf } from './callers.ts'
import type { Containerd } from './containerd.ts'
import { Kubelet } from './kubelet.ts'
import type { NodeDaemon } from './node-daemon.ts'

const LOCK_EX = 2
/** Of the host, from which on pods have theirs. */
const FIRST_PORT = 8000

/** What pods may leave behind. */
export interface Traces {
  readonly kernel: KernelState
  /** All that is below `/var/lib/cni`: reservations, and results that containerd keeps. */
  readonly files: readonly string[]
  readonly netns: readonly string[]
  readonly sandboxes: readonly string[]
  readonly bridges: readonly Caller[]
}

const isAdding = ({ verb }: Caller): boolean => verb === 'ADD'

export class BusyNode {
  readonly containerd: Containerd
  readonly daemon: NodeDaemon
  readonly kubelet: Kubelet
  /** Pods at a time. */
  readonly workers: number
  /** Pods that were begun. */
  #begun = 0
  readonly #addresses = new Set<string>()
  /** Those beside the workers'. */
  readonly #more: Promise<void>[] = []

  constructor(containerd: Containerd, daemon: NodeDaemon, workers: number) {
    this.containerd = containerd
    this.daemon = daemon
    this.workers = workers
    this.kubelet = new Kubelet(containerd)
  }

  /** The life of one pod; every third has a port of the host. */
  async #pod(): Promise<void> {
    const number = this.#begun++
    const ports = number % 3 === 0 ? [{ host: FIRST_PORT + number, container: 80 }] : []
    const { id, ip } = await this.kubelet.runPod(`pod-${number}`, { ports })
    expect(this.#addresses, `the address of pod ${number} is its own`).not.toContain(ip)
    this.#addresses.add(ip)
    expect(await this.containerd.host.ping(ip), `pod ${number} answers`).toBe(true)
    this.#addresses.delete(ip)
    await this.containerd.removePodSandbox(id)
  }

  /** Makes and removes `pods` in all, while `incidents` happen. */
  async run(pods: number, incidents: () => Promise<void>): Promise<void> {
    const work = async (): Promise<void> => {
      while (this.#begun < pods) await this.#pod()
    }
    await Promise.all([incidents(), ...Array.from({ length: this.workers }, work)])
    await Promise.all(this.#more)
  }

  /** Waits until as many were begun. */
  begun(pods: number): Promise<boolean> {
    return eventually(`pod ${pods} is begun`, () => this.#begun >= pods, 120_000)
  }

  /**
   * Keeps everybody from the network's addresses until all who make or remove a pod wait for them; then does `strike`.
   * Some pods are begun meanwhile, so that there are such that are being made.
   * @returns who waited in the daemon. On a busy machine some have not got there within their 50 ms
   */
  async inTheMiddle(strike: () => Promise<unknown>): Promise<Caller[]> {
    const { host } = this.containerd
    const { open, flock } = binding()
    let waiting: Caller[] = []
    const lock = open(host.file('/var/lib/cni/networks/e2e/lock'), 0, 0)
    try {
      await flock(lock, LOCK_EX)
      const more = Array.from({ length: 4 }, () => this.#pod())
      this.#more.push(...more)
      for (const pod of more) pod.catch(() => {})
      const areThere = async (): Promise<boolean> => {
        const all = callersOf(host, 'bridge')
        waiting = all.filter(({ isLauncher }) => isLauncher)
        if (all.length < this.workers + more.length) return false
        return (await this.daemon.status()).running === waiting.length && waiting.some(isAdding)
      }
      await eventually('all wait, some of them in the daemon', areThere, 30_000)
      await strike()
    } finally {
      lock.close()
    }
    return waiting
  }

  async traces(): Promise<Traces> {
    const { host } = this.containerd
    await settled(host)
    const files = readdirSync(host.file('/var/lib/cni'), { recursive: true, encoding: 'utf8' })
    return {
      kernel: await kernelState(host),
      // Where host-local looks first; a network with one attachment has none.
      files: files.filter((path) => !path.startsWith('networks/.linkwright')).sort(),
      netns: await this.containerd.netnsNames(),
      sandboxes: await this.containerd.sandboxes(),
      bridges: callersOf(host, 'bridge'),
    }
  }
}
