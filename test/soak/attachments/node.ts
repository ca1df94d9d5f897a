/** A node in miniature, with what the plugins need there, and executables that no build replaces meanwhile. */
import { cpSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { temporaryFolder } from '../../support/dhcp/ending.ts'
import { type PrivateHost, privateHost } from '../../support/space.ts'
import { FAR, MASTER } from './networks.ts'

export interface SoakNode {
  readonly host: PrivateHost
  /** Where the launchers are. */
  readonly binDir: string
  /** The command line. */
  readonly linkwright: string
  readonly addon: string
}

const dist = fileURLToPath(new URL('../../../dist', import.meta.url))

export const soakNode = async (): Promise<SoakNode> => {
  const folder = temporaryFolder('soak')
  for (const part of ['cni', 'cli'])
    cpSync(join(dist, part), join(folder, part), { recursive: true, verbatimSymlinks: true })
  const host = await privateHost()
  await host.ip('link', 'add', MASTER, 'type', 'veth', 'peer', 'name', FAR)
  for (const name of [MASTER, FAR]) await host.ip('link', 'set', name, 'up')
  return {
    host,
    binDir: join(folder, 'cni/bin'),
    linkwright: join(folder, 'cli/linkwright.cjs'),
    addon: join(folder, 'cli/linkwright.node'),
  }
}
