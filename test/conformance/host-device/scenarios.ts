/** Configurations of the host-device plugin: every way to name a device, and what it meets. */
import { allVersions, type JsonObject } from '../../../cni/types.ts'
import type { PrivateHost } from '../../support/space.ts'
import type { Refused } from '../bridge/refusal.ts'
import type { Scenario } from '../bridge/sides.ts'

const v4 = { type: 'host-local', subnet: '10.22.0.0/16', routes: [{ dst: '0.0.0.0/0' }] }
const fixed = (more: JsonObject = {}): JsonObject => ({
  type: 'static',
  addresses: [{ address: '10.9.0.5/24', gateway: '10.9.0.1' }],
  ...more,
})
export const mac = '02:00:00:00:0a:01'

/** `hd0`, down, and its wire; both implementations find the same. */
const device =
  (script = '') =>
  async (host: PrivateHost): Promise<void> => {
    const lines = [
      `ip link add hd0 address ${mac} mtu 1400 type veth peer name wire0 address 02:00:00:00:0a:02`,
      // Its own address of IPv6 comes and goes at a time of its own.
      'echo 1 >/proc/sys/net/ipv6/conf/wire0/disable_ipv6',
      'ip link set wire0 up',
      'mount -t tmpfs tmpfs /sys/bus',
      'mkdir -p /sys/bus/pci/devices /sys/bus/auxiliary/devices',
      script,
    ]
    await host.must('sh', ['-ec', lines.join('\n')])
  }

const pci = 'mkdir -p /sys/bus/pci/devices/0000:01:00.0/net/hd0'
const virtio = 'mkdir -p /sys/bus/pci/devices/0000:01:00.0/virtio7/net/hd0'
const path = 'mount -t tmpfs tmpfs /sys/devices/virtual; mkdir -p /sys/devices/virtual/nic/net/hd0'
const userSpace = [
  'mkdir -p /sys/bus/pci/devices/0000:01:00.0 /sys/bus/pci/drivers/vfio-pci /sys/bus/pci/drivers/e1000e',
  'ln -s ../../drivers/vfio-pci /sys/bus/pci/devices/0000:01:00.0/driver',
].join('\n')
/** Go minds a PCI device without a driver. */
const driven = `${pci}; mkdir -p /sys/bus/pci/drivers/e1000e; ln -s ../../drivers/e1000e /sys/bus/pci/devices/0000:01:00.0/driver`
const drivenVirtio = `${virtio}; mkdir -p /sys/bus/pci/drivers/virtio-pci; ln -s ../../drivers/virtio-pci /sys/bus/pci/devices/0000:01:00.0/driver`

const scenario = (
  title: string,
  conf: JsonObject,
  { script, ...more }: Omit<Scenario, 'title' | 'conf' | 'prepare'> & { readonly script?: string } = {},
): Scenario => ({
  title,
  conf: { type: 'host-device', ...conf },
  prepare: device(script),
  keepContainerMac: true,
  ...more,
})

export const scenarios: readonly Scenario[] = [
  scenario('by name', { device: 'hd0' }, { thorough: true }),
  scenario('by MAC', { hwaddr: mac.toUpperCase() }),
  scenario('by MAC with hyphens', { hwaddr: mac.replaceAll(':', '-') }),
  scenario('by path', { kernelpath: '/sys/devices/virtual/nic' }, { script: path }),
  scenario('by PCI address', { pciBusID: '0000:01:00.0' }, { script: driven }),
  scenario('by PCI address of virtio', { pciBusID: '0000:01:00.0' }, { script: drivenVirtio }),
  scenario('by deviceID', { runtimeConfig: { deviceID: '0000:01:00.0' } }, { script: driven }),
  scenario('the name before all others', { device: 'hd0', hwaddr: '02:00:00:00:0a:09' }),
  scenario('keys of any case', { DEVICE: 'hd0' }),
  scenario('addresses of IPv4', { device: 'hd0', ipam: v4 }, { thorough: true }),
  scenario("addresses and the network's dns", {
    device: 'hd0',
    dns: { nameservers: ['9.9.9.9'], domain: 'a.org' },
    ipam: fixed({ routes: [{ dst: '192.168.0.0/16', gw: '10.9.0.7' }] }),
  }),
  scenario('dns without addresses', { device: 'hd0', dns: { domain: 'a.org' } }),
  scenario(
    'another name in the container',
    { device: 'hd0' },
    { attachments: [{ container: 'blue', ifName: 'net1' }] },
  ),
  scenario(
    'its own name in the container',
    { device: 'hd0' },
    { attachments: [{ container: 'blue', ifName: 'hd0' }] },
  ),
  scenario(
    'the wire, too',
    {},
    {
      attachments: [
        { container: 'blue', conf: { device: 'hd0' } },
        { container: 'red', conf: { device: 'wire0', name: 'other' } },
      ],
      script: 'ip link set wire0 down',
    },
  ),
  scenario(
    'a device of user space',
    { pciBusID: '0000:01:00.0', ipam: fixed() },
    { script: userSpace, newer: true },
  ),
  ...allVersions
    .filter((version) => version >= '0.3.0')
    .map((cniVersion) => scenario(`${cniVersion}, layer 2`, { device: 'hd0', cniVersion })),
  ...allVersions.map((cniVersion) => scenario(cniVersion, { device: 'hd0', cniVersion, ipam: v4 })),
]

export const refused: readonly Refused[] = [
  { ...scenario('nothing named', {}) },
  { ...scenario('no such name', { device: 'hd9' }) },
  { ...scenario('no such MAC', { hwaddr: '02:00:00:00:0a:09' }) },
  { ...scenario('a MAC that is none', { hwaddr: 'nonsense' }), ours: /hwaddr: expected hardware address/ },
  {
    ...scenario('a path elsewhere', { kernelpath: '/etc' }),
    ours: /kernelpath: expected path below \/sys\/devices\//,
  },
  {
    ...scenario('a path without interfaces', { kernelpath: '/sys/devices/system' }),
    ours: /^failed to find host device: failed to find network devices at "\/sys\/devices\/system\/net"$/,
  },
  {
    ...scenario('no such PCI device', { pciBusID: '0000:09:00.0' }),
    ours: /^failed to find host device: failed to find network devices at/,
  },
  {
    ...scenario('no such deviceID', { runtimeConfig: { deviceID: '0000:09:00.0' } }),
    ours: /^runtime config DeviceID 0000:09:00\.0 not found or unsupported$/,
  },
  { ...scenario('IPAM without addresses', { device: 'hd0', ipam: { type: 'static' } }) },
  { ...scenario('layer 2 in 0.2.0', { device: 'hd0', cniVersion: '0.2.0' }) },
  {
    ...scenario('the same device twice', { device: 'hd0' }),
    attachments: [{ container: 'blue' }, { container: 'red' }],
  },
]
