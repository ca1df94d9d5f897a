/** Configurations of the tap plugin. */
import { allVersions, type JsonObject } from '../../../cni/types.ts'
import type { Scenario } from '../bridge/sides.ts'

const one = { address: '10.9.0.5/24', gateway: '10.9.0.1' }
const fixed = (addresses: readonly JsonObject[], more: JsonObject = {}): JsonObject => ({
  type: 'static',
  addresses,
  routes: [{ dst: '0.0.0.0/0' }],
  ...more,
})
const mac = '02:00:00:00:00:05'

const scenario = (
  title: string,
  conf: JsonObject,
  more: Omit<Scenario, 'title' | 'conf'> = {},
): Scenario => ({ title, conf: { type: 'tap', ipam: fixed([one]), ...conf }, newer: true, ...more })

/** By both of Go's ways: the program ip, and with owner and group the kernel's own. */
const keys: readonly Scenario[] = [
  scenario('nothing', {}, { thorough: true }),
  scenario('owner and group', { owner: 54321, group: 54322 }),
  scenario('owner', { owner: 54321 }),
  scenario('group', { group: 54322 }),
  scenario('multiQueue', { multiQueue: true }),
  scenario('multiQueue, owner and group', { multiQueue: true, owner: 54321, group: 54322 }),
  scenario('mtu', { mtu: 1400 }),
  scenario('mac', { mac }, { keepContainerMac: true }),
  scenario(
    'MAC of CNI_ARGS',
    { mac: '02:00:00:00:00:06' },
    { keepContainerMac: true, attachments: [{ container: 'blue', args: `IgnoreUnknown=1;MAC=${mac}` }] },
  ),
  scenario('MAC of runtimeConfig', { runtimeConfig: { mac } }, { keepContainerMac: true }),
  scenario('layer 2', { ipam: {} }),
  scenario('dns', { dns: { domain: 'a.org' } }),
  scenario(
    'two containers',
    { ipam: { type: 'host-local', subnet: '10.22.0.0/16' } },
    { attachments: [{ container: 'blue' }, { container: 'red' }] },
  ),
]

export const scenarios: readonly Scenario[] = [
  ...keys,
  ...allVersions.map((cniVersion) => scenario(`of ${cniVersion}`, { cniVersion })),
]
