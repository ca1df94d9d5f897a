/**
 * Running `iptables` and `ip6tables`: without a shell, each word an argument, waiting for the lock of the old xtables.
 * Only for what is asked for or can't be done otherwise: nf_tables is spoken to over netlink.
 */
import type { Exec } from '../../cni/exec.ts'
import type { Logger } from '../../cni/plugin.ts'
import { isErrno, type Netns } from '../../netlink/index.ts'

/** IPv4 or IPv6: each has a program and tables of its own. */
export type Version = 4 | 6

/** The front ends: of nf_tables on almost every host, of the old xtables by their own names. */
export type Program = 'iptables' | 'ip6tables' | 'iptables-legacy' | 'ip6tables-legacy'

/** The programs by their usual names. */
export const programs = { 4: 'iptables', 6: 'ip6tables' } as const

/** By their own names first: where there are both, `iptables` is the front end of nf_tables. */
const legacyPrograms: { readonly [V in Version]: readonly Program[] } = {
  4: ['iptables-legacy', 'iptables'],
  6: ['ip6tables-legacy', 'ip6tables'],
}

/** What `-C` says of a rule that leads to a chain, or is in a table, that there is not. */
const nothingSuch = /does not exist|Couldn't load target|No such file or directory|No chain\/target\/match/

/** How a word is written in a rule for {@link IptablesTable.restore}. @throws RangeError for a control character */
const quote = (word: string): string => {
  if (/\p{Cc}/u.test(word)) throw new RangeError(`${JSON.stringify(word)} has a control character`)
  return /^[\w.,:/![\]-]+$/.test(word) ? word : `"${word.replace(/["\\]/g, '\\$&')}"`
}

/** The words of a line of `-S`, whose quoted strings escape `"` and `\`. */
export const splitRule = (line: string): string[] =>
  [...line.matchAll(/"((?:[^"\\]|\\.)*)"|(\S+)/g)].map(([, quoted, plain]) =>
    quoted === undefined ? plain! : quoted.replace(/\\(.)/g, '$1'),
  )

/** One table as one of the programs sees it. A rule is a list of arguments: `['-s', '10.1.2.3', '-j', 'ACCEPT']`. */
export class IptablesTable {
  readonly program: Program
  readonly table: string
  readonly #exec: Exec

  constructor(exec: Exec, program: Program, table: string) {
    this.#exec = exec
    this.program = program
    this.table = table
  }

  #call(args: readonly string[]) {
    return this.#exec(this.program, ['--wait', '-t', this.table, ...args])
  }
  #failed(args: readonly string[], status: number, stderr: string): Error {
    const why = stderr.trim() || `exit status ${status}`
    return new Error(`${this.program} -t ${this.table} ${args.join(' ')}: ${why}`)
  }

  /**
   * Runs the program: `--wait -t TABLE` and the arguments.
   * @returns its standard output
   * @throws Error with its words on standard error; with code ENOENT where there is no such program
   */
  async run(args: readonly string[]): Promise<string> {
    const { status, stdout, stderr } = await this.#call(args)
    if (status !== 0) throw this.#failed(args, status, stderr)
    return stdout
  }

  /** `-C CHAIN RULE`. @throws Error where the program does not tell */
  async hasRule(chain: string, rule: readonly string[]): Promise<boolean> {
    const args = ['-C', chain, ...rule]
    const { status, stderr } = await this.#call(args)
    if (status === 0) return true
    if (status === 1 || nothingSuch.test(stderr)) return false
    throw this.#failed(args, status, stderr)
  }

  /** `-S CHAIN 1`. @throws Error where the program does not tell */
  async hasChain(chain: string): Promise<boolean> {
    const args = ['-S', chain, '1']
    const { status, stderr } = await this.#call(args)
    if (status === 0) return true
    if (status === 1 || nothingSuch.test(stderr)) return false
    throw this.#failed(args, status, stderr)
  }

  /** `-N CHAIN`, unless it is there. @returns whether it was made */
  async ensureChain(chain: string): Promise<boolean> {
    if (await this.hasChain(chain)) return false
    try {
      await this.run(['-N', chain])
      return true
    } catch (error) {
      // Somebody else has just made it.
      if (await this.hasChain(chain)) return false
      throw error
    }
  }

  /** `-A CHAIN RULE` or `-I CHAIN RULE`, unless it is there. @returns whether it was made */
  async ensureRule(
    chain: string,
    rule: readonly string[],
    where: 'append' | 'insert' = 'append',
  ): Promise<boolean> {
    if (await this.hasRule(chain, rule)) return false
    await this.run([where === 'insert' ? '-I' : '-A', chain, ...rule])
    return true
  }

  /** `-D CHAIN RULE`; one that is not there is no error. @returns whether it was there */
  async deleteRule(chain: string, rule: readonly string[]): Promise<boolean> {
    try {
      await this.run(['-D', chain, ...rule])
      return true
    } catch (error) {
      if (await this.hasRule(chain, rule)) throw error
      return false
    }
  }

  /** `-S`, or `-S CHAIN`, by lines: `-N CHAIN`, `-A CHAIN …`. A chain that is not there has none. */
  async list(chain?: string): Promise<string[]> {
    const args = chain === undefined ? ['-S'] : ['-S', chain]
    const { status, stdout, stderr } = await this.#call(args)
    if (status !== 0 && (chain === undefined || status !== 1)) throw this.#failed(args, status, stderr)
    return stdout.split('\n').filter((line) => line !== '')
  }

  /**
   * Many changes at once, all or none, in one process: `iptables-restore --noflush`.
   * @param commands each a list of arguments, `['-A', 'CHAIN', '-j', 'ACCEPT']`; `[':CHAIN', '-', '[0:0]']` makes a
   * chain, or empties it
   * @throws RangeError for a word with a control character, before anything is run; Error with the program's words
   */
  async restore(commands: readonly (readonly string[])[]): Promise<void> {
    const lines = [`*${this.table}`, ...commands.map((words) => words.map(quote).join(' ')), 'COMMIT']
    const file = `${this.program}-restore`
    const { status, stderr } = await this.#exec(file, ['--wait', '--noflush'], {
      input: `${lines.join('\n')}\n`,
    })
    if (status === 0) return
    const line = lines[Number(/\bline:? (\d+)/.exec(stderr)?.[1] ?? 0) - 1]
    const why = stderr.trim() || `exit status ${status}`
    throw new Error(`${file} --noflush: ${why}${line === undefined ? '' : ` (${line})`}`)
  }
}

const names = { 4: 'ip_tables_names', 6: 'ip6_tables_names' } as const

/**
 * Whether the old xtables hold a table in a namespace, which only their own programs can read and change. What
 * `iptables` as a front end to nf_tables has made is not among them.
 */
export const hasLegacyTable = (netns: Netns, version: Version, table: string): boolean => {
  try {
    return netns.readProcNet(names[version]).split('\n').includes(table)
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return false
    throw error
  }
}

/** What finding the programs of the old xtables needs. */
export interface LegacyHost {
  readonly exec: Exec
  readonly log: Logger
}

/**
 * A table of the old xtables in the words of `iptables -S`, and how to change it; null where there is no program. To
 * be asked only where {@link hasLegacyTable}: a program makes the table by looking.
 * @throws Error of a program
 */
export const listLegacyTable = async (
  { exec, log }: LegacyHost,
  version: Version,
  name: string,
): Promise<{ readonly table: IptablesTable; readonly lines: readonly string[] } | null> => {
  for (const program of legacyPrograms[version])
    try {
      const table = new IptablesTable(exec, program, name)
      return { table, lines: await table.list() }
    } catch (error) {
      if (!isErrno(error, 'ENOENT')) throw error
    }
  // Without a program no plugin can have made rules: they are another's, e.g. of a kube-proxy in a container.
  log.debug(
    `there is an old ${name} table of IPv${version}, but no ${legacyPrograms[version].join(' or ')} to read it`,
  )
  return null
}
