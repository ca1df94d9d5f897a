/** What became of a program. */
export interface Executed {
  /** Exit status; 128 + number of the signal that ended it. */
  readonly status: number
  readonly stdout: string
  readonly stderr: string
}

/** Runs a program without a shell. */
export interface Exec {
  /**
   * @param file a name to look up in PATH, or an absolute path
   * @throws Error with code ENOENT where there is no such program
   */
  (
    file: string,
    args: readonly string[],
    options?: {
      /** Written to its standard input, which is then closed. */
      readonly input?: string | undefined
      /** Milliseconds; the program is killed after. Default 30 000. */
      readonly timeout?: number | undefined
      readonly env?: Readonly<Record<string, string>> | undefined
    },
  ): Promise<Executed>
}
