/** A node with what flanneld writes about it. */
import { mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import type { JsonObject } from '../../../cni/types.ts'
import { type Node, node } from './node.ts'

export const env = [
  'FLANNEL_NETWORK=10.244.0.0/16',
  'FLANNEL_SUBNET=10.244.7.1/24',
  'FLANNEL_MTU=1450',
  'FLANNEL_IPMASQ=false',
]

export interface FlannelNode {
  readonly made: Node
  readonly conf: JsonObject
  /** Writes the subnet file. No lines: removes it. */
  writeEnv(lines: readonly string[]): void
  /** Files that are kept, e.g. `cid-1` and `.attachments/cid-1/net:eth0`. */
  kept(): string[]
  /** Addresses that host-local has given away. */
  reserved(network?: string): string[]
}

export const flannelNode = async (): Promise<FlannelNode> => {
  const made = await node()
  const subnetFile = made.host.file('/run/flannel/subnet.env')
  const dataDir = made.host.file('/var/lib/cni/flannel')
  mkdirSync(made.host.file('/run/flannel'))
  const writeEnv = (lines: readonly string[]): void => {
    if (lines.length === 0) rmSync(subnetFile)
    else writeFileSync(subnetFile, `${lines.join('\n')}\n`)
  }
  writeEnv(env)
  const filesIn = (folder: string): string[] => {
    try {
      return readdirSync(folder, { recursive: true, withFileTypes: true })
        .filter((entry) => entry.isFile())
        .map(({ parentPath, name }) => `${parentPath}/${name}`.slice(folder.length + 1))
        .sort()
    } catch {
      return []
    }
  }
  return {
    made,
    // As it has to be for a process outside of the host's mount namespace.
    conf: {
      type: 'flannel',
      subnetFile,
      dataDir,
      ipam: { dataDir: made.host.file('/var/lib/cni/networks') },
    },
    writeEnv,
    kept: () => filesIn(dataDir),
    reserved: (network = 'net') =>
      filesIn(made.host.file(`/var/lib/cni/networks/${network}`)).filter((name) =>
        /^[0-9a-f]+[.:]/.test(name),
      ),
  }
}
