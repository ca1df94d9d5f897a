/** What a kubelet does with pods: it tries again, under the next attempt, until a sandbox runs. */
import type { Containerd, Sandbox, SandboxRequest } from './containerd.ts'

/** A sandbox that did not come. */
export interface Failure {
  /** The sandbox's id, as the message has it; empty where it has none. */
  readonly id: string
  readonly message: string
}

const ATTEMPTS = 5

export class Kubelet {
  readonly failures: Failure[] = []
  readonly #containerd: Containerd

  constructor(containerd: Containerd) {
    this.#containerd = containerd
  }

  /** @throws Error where no attempt succeeds */
  async runPod(name: string, request: SandboxRequest = {}): Promise<Sandbox> {
    for (let attempt = 0; ; attempt++)
      try {
        return await this.#containerd.runPodSandbox(name, { ...request, attempt })
      } catch (error) {
        const { message } = error as Error
        this.failures.push({ id: /sandbox "([\da-f]{64})"/.exec(message)?.[1] ?? '', message })
        if (attempt + 1 === ATTEMPTS)
          throw new Error(`pod ${name}: ${ATTEMPTS} attempts have failed`, { cause: error })
      }
  }
}
