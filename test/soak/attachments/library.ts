/** The library, in a process of its own inside the host. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'
import { atEnd, temporaryFolder } from '../../support/dhcp/ending.ts'
import { plainEnv } from '../../support/program.ts'
import type { Call, Door, Outcome } from './door.ts'
import type { SoakNode } from './node.ts'

const LOST: Outcome = { code: 'lost', text: '' }

/** The program as one file. @returns its path */
const bundled = async (addon: string): Promise<string> => {
  const outfile = join(temporaryFolder('soak-library'), 'library.cjs')
  const entry = fileURLToPath(new URL('library-process.ts', import.meta.url))
  await build({
    ...{ entryPoints: [entry], outfile, bundle: true, logLevel: 'error' },
    ...{ platform: 'node', target: 'node20', format: 'cjs' },
    define: {
      __LINKWRIGHT_ADDON__: JSON.stringify(addon),
      'import.meta.url': JSON.stringify(import.meta.url),
    },
  })
  return outfile
}

export class Library implements Door {
  readonly name = 'library'
  readonly #node: SoakNode
  readonly #script: string
  readonly #pending = new Map<number, (outcome: Outcome) => void>()
  #child: ChildProcess | null = null
  #said = ''
  #calls = 0
  #answered = 0

  private constructor(node: SoakNode, script: string) {
    this.#node = node
    this.#script = script
    atEnd(() => this.end('SIGKILL'))
  }

  static async of(node: SoakNode): Promise<Library> {
    return new Library(node, await bundled(node.addon))
  }

  get pid(): number | null {
    return this.#child?.pid ?? null
  }

  async start(): Promise<void> {
    const [file, args] = this.#node.host.command(process.execPath, [this.#script])
    const child = spawn(file, args, { env: plainEnv, stdio: 'pipe' })
    child.stdin.on('error', () => {})
    child.stderr.on('data', (data) => {
      this.#said = `${this.#said}${data}`.slice(-10_000)
    })
    const over = once(child, 'close')
    const lines = createInterface({ input: child.stdout })
    const [ready] = (await Promise.race([once(lines, 'line'), over])) as unknown[]
    if (ready !== '"ready"') throw new Error(`the library's process did not start: ${this.#said}`)
    lines.on('line', (line) => {
      const { id, outcome } = JSON.parse(line) as { id: number; outcome: Outcome }
      this.#answered++
      this.#pending.get(id)?.(outcome)
    })
    this.#child = child
    this.#answered = 0
    child.on('close', () => {
      this.#child = null
      for (const lose of this.#pending.values()) lose(LOST)
    })
  }

  async end(signal: 'SIGKILL' | 'SIGTERM'): Promise<void> {
    const child = this.#child
    if (!child) return
    const over = once(child, 'close')
    child.kill(signal)
    await over
  }

  async served(): Promise<number> {
    return this.#answered
  }

  complaints(): readonly string[] {
    return this.#said === '' ? [] : [this.#said]
  }

  async call(call: Call): Promise<Outcome> {
    const child = this.#child
    if (!child) return LOST
    const id = this.#calls++
    try {
      return await new Promise<Outcome>((resolve) => {
        this.#pending.set(id, resolve)
        child.stdin!.write(`${JSON.stringify({ id, call })}\n`)
      })
    } finally {
      this.#pending.delete(id)
    }
  }
}
