/** Which device of the host a configuration means. */
import { CniError, codes, invalidConfig } from '../../cni/error.ts'
import type { Context } from '../../cni/plugin.ts'
import { isLinkName, type Link, link, sameMac } from '../../netlink/index.ts'
import { findLink } from '../shared/check.ts'
import type { HostDeviceConf } from './conf.ts'
import type { Interfaces, Sysfs } from './sysfs.ts'

/** What the configuration names, by the place it is looked for. */
export type Selector =
  | { readonly by: 'device' | 'hwaddr' | 'kernelpath'; readonly value: string }
  | { readonly by: 'pci' | 'auxiliary'; readonly value: string }

export interface Chosen {
  /** Null: it belongs to a driver of user space. */
  readonly link: Link | null
  /** Its PCI address, where it is known. */
  readonly pciID: string | undefined
}

/** The selector, and the PCI device that decides on DPDK mode, which may be another's. @throws CniError code 7 */
const selectorOf = (
  conf: HostDeviceConf,
  sysfs: Sysfs,
): { readonly selector: Selector; readonly pci: string } => {
  const id = conf.runtimeConfig?.deviceID ?? ''
  let pci = conf.pciBusID
  let auxiliary = ''
  if (id !== '') {
    if (sysfs.has('pci', id)) pci = id
    else if (sysfs.has('auxiliary', id)) {
      pci = ''
      auxiliary = id
    } else
      throw new CniError({
        code: codes.invalidConfig,
        msg: `runtime config DeviceID ${id} not found or unsupported`,
        details: 'there is no such device in /sys/bus/pci/devices or /sys/bus/auxiliary/devices',
      })
  }
  for (const by of ['device', 'hwaddr', 'kernelpath'] as const)
    if (conf[by] !== '') return { selector: { by, value: conf[by] }, pci }
  if (pci !== '') return { selector: { by: 'pci', value: pci }, pci }
  if (auxiliary !== '') return { selector: { by: 'auxiliary', value: auxiliary }, pci }
  throw invalidConfig('specify either "device", "hwaddr", "kernelpath" or "pciBusID"')
}

const notFound = (why: string, details: string): CniError =>
  new CniError({ code: codes.invalidConfig, msg: `failed to find host device: ${why}`, details })

const elsewhere = 'it may be in a container already (ip -all netns exec ip link), or its driver is not loaded'

/** The first interface of a folder of sysfs, as the host's namespace has it. */
const firstOf = async ({ host }: Context<unknown>, found: Interfaces | null, what: string): Promise<Link> => {
  if (!found) throw notFound(`failed to find network devices at ${JSON.stringify(what)}`, elsewhere)
  for (const name of found.names.filter(isLinkName)) {
    const have = await findLink(host, name)
    if (!have) continue
    // Another namespace's sysfs may have the same names for other interfaces.
    if (have.parentDevice !== undefined && have.parentDevice !== found.owner) continue
    return have
  }
  throw notFound(
    'failed to find physical interface',
    `${found.folder} has no interface of the host; ${elsewhere}`,
  )
}

const lookUp = async (context: Context<unknown>, { by, value }: Selector, sysfs: Sysfs): Promise<Link> => {
  const { host } = context
  switch (by) {
    case 'device': {
      const found = await findLink(host, value)
      if (found) return found
      throw notFound('Link not found', `the host has no interface ${value}: ${elsewhere}`)
    }
    case 'hwaddr': {
      const found = (await host.run(link.list())).find((one) => sameMac(value, one.address))
      if (found) return found
      throw notFound('failed to find physical interface', `the host has none with ${value}: ${elsewhere}`)
    }
    case 'kernelpath':
      return await firstOf(context, sysfs.below(value), `${value}/net`)
    case 'pci':
    case 'auxiliary':
      return await firstOf(context, sysfs.interfacesOf(by, value), `/sys/bus/${by}/devices/${value}/net`)
  }
}

/** The device that an ADD is to move. @throws CniError code 7 */
export const choose = async (context: Context<HostDeviceConf>, sysfs: Sysfs): Promise<Chosen> => {
  const { selector, pci } = selectorOf(context.conf, sysfs)
  // Of a PCI device the driver tells, whatever the configuration says.
  const userSpace = pci === '' ? context.conf.DPDKMode : sysfs.isUserSpace(pci)
  if (userSpace) return { link: null, pciID: pci || undefined }
  const found = await lookUp(context, selector, sysfs)
  if (found.flags.loopback)
    throw invalidConfig(
      `failed to find host device: ${found.name} is a loopback interface, which can not be moved`,
    )
  const own = found.parentBus === 'pci' ? found.parentDevice : undefined
  return { link: found, pciID: selector.by === 'pci' ? selector.value : own }
}

/** Whether the configuration names a device at all, other than by what the runtime adds for each container. */
export const namesDevice = (conf: HostDeviceConf): boolean =>
  [conf.device, conf.hwaddr, conf.kernelpath, conf.pciBusID, conf.runtimeConfig?.deviceID].some(Boolean)

/** Whether a link is the device that a configuration names, as far as the link itself can tell. */
export const isNamed = (found: Link, conf: HostDeviceConf, sysfs: Sysfs): boolean => {
  const { device, hwaddr, kernelpath } = conf
  if (device !== '') return found.alias === device
  if (hwaddr !== '') return sameMac(hwaddr, found.address) || sameMac(hwaddr, found.permanentAddress ?? '')
  const parent = found.parentDevice
  if (parent === undefined) return false
  if (kernelpath !== '') return kernelpath.replace(/\/+$/, '').split('/').at(-1) === parent
  const id = conf.runtimeConfig?.deviceID || conf.pciBusID
  return id !== '' && (parent === id || sysfs.ownersOf(id).includes(parent))
}
