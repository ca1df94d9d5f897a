/** What became of a program. */
export interface Executed {
  /** Exit status; 128 + number of the signal that ended it. */
  readonly status: number
  readonly stdout: string
  readonly stderr: string
}

/** How to run a program. */
export interface ExecCallOptions {
  /** Written to its standard input, which is then closed. */
  readonly input?: string | undefined
  /** Milliseconds; the program is ended after. Default 30 000. */
  readonly timeout?: number | undefined
  /** Its environment. Default: the host's, with LC_ALL=C. */
  readonly env?: Readonly<Record<string, string>> | undefined
}

/**
 * Runs a program without a shell.
 * @param file a name to look up in PATH, or an absolute path
 * @throws Error with code ENOENT where there is no such program, ETIMEDOUT where it took too long
 */
export type Exec = (file: string, args: readonly string[], options?: ExecCallOptions) => Promise<Executed>
