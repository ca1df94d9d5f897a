import { expect, test } from 'vitest'
import { binDirs, mustRunPlugin } from '../../support/plugin.ts'
import { privateHost } from '../../support/space.ts'

interface Addresses {
  readonly ifname: string
  readonly addr_info: readonly { readonly family: string; readonly local: string }[]
}

test('two attachments of a container are configured each by its own index, in used namespaces too', async () => {
  const host = await privateHost()
  const netns = await host.container()
  // The kernel counts on from here: the next index it would choose is not 2.
  await netns.ip('link', 'add', 'before0', 'type', 'veth', 'peer', 'name', 'before1')
  await netns.ip('link', 'del', 'before0')
  const add = (ifName: string) =>
    mustRunPlugin({
      host,
      netns,
      ifName,
      binDir: binDirs.ours,
      type: 'bridge',
      command: 'ADD',
      conf: {
        cniVersion: '1.0.0',
        name: 'net',
        type: 'bridge',
        bridge: 'cni0',
        ipam: { type: 'host-local', subnet: '10.1.2.0/24' },
      },
    })
  await add('eth0')
  await add('eth1')
  const found = await netns.ipJson<Addresses>('addr', 'show')
  const ipv4 = found.map(({ ifname, addr_info }) => [
    ifname,
    addr_info.filter(({ family }) => family === 'inet').map(({ local }) => local),
  ])
  expect(ipv4).toEqual([
    ['lo', []],
    ['eth0', ['10.1.2.2']],
    ['eth1', ['10.1.2.3']],
  ])
})
