/** Where to look, as the options say it. */
export interface Places {
  /** CNI_PATH: directories between colons. */
  readonly binDirs: readonly string[]
  readonly confDir: string
  /** host-local's, where a configuration names no other. */
  readonly dataDir: string
  /** libcni's. */
  readonly cacheDir: string
  /** Of the installation. */
  readonly prefix: string
  /** The daemon's. */
  readonly socket: string
  /** Names of networks; empty: all. */
  readonly networks: readonly string[]
}
