/** What the Go plugin does to a network's directory, in its simplest form: it reads all files for everything. */
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

export class Naive {
  readonly dir: string
  readonly #first: number
  readonly #last: number

  /** Assigns `10.1.0.<first>` to `10.1.0.<last>`. */
  constructor(dir: string, first: number, last: number) {
    this.dir = dir
    this.#first = first
    this.#last = last
    mkdirSync(dir, { recursive: true })
  }

  heldBy(content: string): string[] {
    return readdirSync(this.dir)
      .filter((name) => readFileSync(join(this.dir, name), 'utf8').trim() === content)
      .sort()
  }

  /** @returns the address, or null where it has one already or none is free */
  add(owner: string): string | null {
    const id = owner.split('\r\n')[0]!
    if (this.heldBy(owner).length + this.heldBy(id).length > 0) return null
    const count = this.#last - this.#first + 1
    const last = this.lastReserved()
    const from = last === null ? 0 : last - this.#first + 1
    for (let i = 0; i < count; i++) {
      const address = `10.1.0.${this.#first + ((from + i) % count)}`
      try {
        writeFileSync(join(this.dir, address), owner, { flag: 'wx', mode: 0o600 })
      } catch {
        continue
      }
      writeFileSync(join(this.dir, 'last_reserved_ip.0'), address, { mode: 0o600 })
      return address
    }
    return null
  }

  del(owner: string): void {
    const own = this.heldBy(owner)
    for (const name of own.length > 0 ? own : this.heldBy(owner.split('\r\n')[0]!))
      rmSync(join(this.dir, name))
  }

  /** The last number, or null where there is none in the range. */
  lastReserved(): number | null {
    let text: string
    try {
      text = readFileSync(join(this.dir, 'last_reserved_ip.0'), 'utf8')
    } catch {
      return null
    }
    const number = Number(/^10\.1\.0\.([0-9]+)$/.exec(text)?.[1] ?? -1)
    return number >= this.#first && number <= this.#last ? number : null
  }
}
