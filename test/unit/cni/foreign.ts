/** Plugins that are not ours: small scripts in a directory that plays CNI_PATH. */
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { onTestFinished } from 'vitest'

/** A directory that is gone when the test is over. */
export const temporaryDirectory = (): string => {
  const directory = mkdtempSync(join(tmpdir(), 'linkwright-'))
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }))
  return directory
}

/** What a foreign plugin does, the same for every verb unless it says otherwise. */
export interface Behaviour {
  readonly stdout?: string
  readonly stderr?: string
  readonly status?: number
  /** Shell commands to run at the end of a verb, e.g. `{ ADD: 'exit 3' }`. */
  readonly verbs?: Readonly<Record<string, string>>
}

/** One execution of a foreign plugin. */
export interface Execution {
  readonly env: Readonly<Record<string, string>>
  readonly stdin: string
}

export class ForeignPlugin {
  readonly type: string
  readonly directory: string

  constructor(type: string, behaviour: Behaviour = {}, directory = temporaryDirectory()) {
    this.type = type
    this.directory = directory
    const { stdout = '', stderr = '', status = 0, verbs = {} } = behaviour
    writeFileSync(join(directory, `${type}.stdout`), stdout)
    writeFileSync(join(directory, `${type}.stderr`), stderr)
    const cases = Object.entries(verbs).map(([verb, commands]) => `${verb}) ${commands};;`)
    this.#write(
      `#!/bin/sh
n=0; while [ -e "$0.$n.env" ]; do n=$((n+1)); done
env > "$0.$n.env"; cat > "$0.$n.stdin"
case "$CNI_COMMAND" in
${cases.join('\n')}
esac
cat "$0.stdout"; cat "$0.stderr" >&2
exit ${status}
`,
    )
  }

  get file(): string {
    return join(this.directory, this.type)
  }

  #write(script: string): void {
    writeFileSync(this.file, script)
    chmodSync(this.file, 0o755)
  }

  /** Every execution so far, in order. */
  get executions(): Execution[] {
    const found: Execution[] = []
    for (let i = 0; existsSync(`${this.file}.${i}.env`); i++) {
      const lines = readFileSync(`${this.file}.${i}.env`, 'utf8').trimEnd().split('\n')
      const env = Object.fromEntries(
        lines.map((line) => [line.slice(0, line.indexOf('=')), line.slice(line.indexOf('=') + 1)]),
      )
      found.push({ env, stdin: readFileSync(`${this.file}.${i}.stdin`, 'utf8') })
    }
    return found
  }

  /** The verbs so far, in order. */
  get verbs(): string[] {
    return this.executions.map(({ env }) => env.CNI_COMMAND ?? '')
  }
}
