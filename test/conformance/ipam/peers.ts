/** One operation done twice: by the Go plugin and by ours, each on a node of its own with the same paths. */
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { beforeAll } from 'vitest'
import type { JsonObject } from '../../../cni/types.ts'
import { binDirs, type PluginRun, type PrintedResult, runPlugin } from '../../support/plugin.ts'
import { type PrivateHost, privateHost } from '../../support/space.ts'

/** Where both keep a network's reservations. */
export const dataDir = '/var/lib/cni/networks'

/** Go plugins to compare with; others than Debian's may be given. */
export const goDir = process.env.PEER_CNI_PATH ?? binDirs.go

export interface Operation {
  readonly command: string
  readonly conf: JsonObject
  readonly containerId?: string | undefined
  readonly ifName?: string | undefined
  readonly args?: string | undefined
}

export class Peer {
  readonly host: PrivateHost
  readonly binDir: string

  constructor(host: PrivateHost, binDir: string) {
    this.host = host
    this.binDir = binDir
  }

  run(type: string, operation: Operation): Promise<PluginRun> {
    // An IPAM plugin has no use for the namespace, and so it need not be there.
    return runPlugin({ host: this.host, binDir: this.binDir, type, netns: '/run/netns/none', ...operation })
  }

  /** Writes files below a directory of the node. */
  put(dir: string, files: Readonly<Record<string, string>>): void {
    for (const [name, content] of Object.entries(files)) {
      const path = this.host.file(join(dir, name))
      mkdirSync(dirname(path), { recursive: true })
      writeFileSync(path, content)
    }
  }

  /** Contents of a network's files, by their paths. (Modes of the Go plugin were 0644 before 1.7, and are 0600 since.) */
  files(network: string): Record<string, string> {
    const found: Record<string, string> = {}
    const visit = (folder: string): void => {
      for (const entry of readdirSync(this.host.file(folder), { withFileTypes: true })) {
        const path = join(folder, entry.name)
        if (entry.isDirectory()) visit(path)
        else found[path] = readFileSync(this.host.file(path), 'latin1')
      }
    }
    try {
      visit(join(dataDir, network))
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
    }
    return found
  }
}

/** The two nodes, for all tests of a file. */
export const peers = (): { go: Peer; ours: Peer } => {
  const both = {} as { go: Peer; ours: Peer }
  beforeAll(async () => {
    both.go = new Peer(await privateHost(), goDir)
    both.ours = new Peer(await privateHost(), binDirs.ours)
  })
  return both
}

/** The Go plugins print an empty dns before 1.4, and none after. */
export const printed = ({ result }: PluginRun): PrintedResult | null => {
  if (!result?.dns || Object.keys(result.dns).length > 0) return result
  const { dns: _, ...rest } = result
  return rest
}
