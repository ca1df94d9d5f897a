/** A host with a device to give away: `hd0`, wired to another namespace, the network. */
import type { JsonObject } from '../../../cni/types.ts'
import { defineHostDevice } from '../../../plugins/host-device/index.ts'
import type { Space } from '../../support/space.ts'
import { plug } from './master.ts'
import { type Node, node } from './node.ts'

/** Where the host's notes are. */
export const notesFolder = '/run/linkwright/host-device'

export const withDevice = async (): Promise<{ node: Node; outside: Space }> => {
  const made = await node()
  const { host } = made
  const own = defineHostDevice({ sysfs: host.file('/sys'), notes: host.file(notesFolder) })
  made.options = { plugins: new Map([...made.plugins, [own.type, own]]) }
  const outside = await plug(host, 'hd0')
  await host.ip('link', 'set', 'hd0', 'alias', 'to the lab', 'mtu', '1400')
  return { node: made, outside }
}

/** Empty buses in the host's sysfs, and a script that puts devices on them. */
export const fakeSysfs = async ({ host }: Node, script: string): Promise<void> => {
  const empty = 'mount -t tmpfs tmpfs /sys/bus; mkdir -p /sys/bus/pci/devices /sys/bus/auxiliary/devices'
  await host.must('sh', ['-ec', `${empty}\n${script}`])
}

export const fixed: JsonObject = {
  type: 'static',
  addresses: [{ address: '10.9.0.11/24', gateway: '10.9.0.1' }, { address: 'fd09::11/64' }],
  routes: [{ dst: '0.0.0.0/0' }],
}

/** A configuration of the plugin. */
export const conf = (more: JsonObject = {}): JsonObject => ({ type: 'host-device', device: 'hd0', ...more })

/** Everything about a namespace's links, but what the kernel finds out after a while: carriers, and what follows. */
export const linksOf = async (space: Space): Promise<string[]> =>
  (await space.must('ip', ['-o', 'link', 'show']))
    .split('\n')
    .filter((line) => line !== '')
    .map((line) =>
      line
        .replace(/^\d+: /, '')
        .replace(/@if\d+/, '')
        .replace(/NO-CARRIER,|,LOWER_UP/g, '')
        .replace(/ qdisc \w+ state \w+/, ''),
    )
    .sort()

/** Names of the attachments' notes. */
export const notesOf = async ({ host }: Node): Promise<string> =>
  (await host.run('ls', ['-A', notesFolder])).stdout.trim()
