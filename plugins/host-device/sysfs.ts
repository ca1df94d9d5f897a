/**
 * What sysfs says of devices. Its `net` folders hold the interfaces of the namespace that it was mounted in, so names
 * from there count only where the kernel confirms them in the host's namespace.
 */
import { existsSync, readdirSync, readlinkSync } from 'node:fs'
import { basename, join } from 'node:path'
import { isErrno } from '../../netlink/index.ts'
import { isComponent } from './conf.ts'

const drivers = ['vfio-pci', 'uio_pci_generic', 'igb_uio']

/** Entries of a folder in order; null where there is no such folder. */
const entries = (path: string): string[] | null => {
  try {
    return readdirSync(path).sort()
  } catch (error) {
    if (isErrno(error, 'ENOENT', 'ENOTDIR')) return null
    throw error
  }
}

export type Bus = 'pci' | 'auxiliary'

/** A folder of interfaces, and the devices that may own them: the kernel tells which in IFLA_PARENT_DEV_NAME. */
export interface Interfaces {
  readonly names: readonly string[]
  /** Name of the device that has them. */
  readonly owner: string
  readonly folder: string
}

/** sysfs, mounted at `root`. */
export class Sysfs {
  readonly #root: string

  constructor(root: string) {
    this.#root = root
  }

  #device(bus: string, id: string): string {
    // The schema has refused it; this is the last door.
    for (const part of [bus, id])
      if (!isComponent(part)) throw new RangeError(`${JSON.stringify(part)} is not the id of a device`)
    return join('bus', bus, 'devices', id)
  }

  /** Whether a bus has a device. */
  has(bus: Bus, id: string): boolean {
    return existsSync(join(this.#root, this.#device(bus, id)))
  }

  /** Whether a device has interfaces, in whatever namespace: those of others are not in the folder, but keep it. */
  hasInterfaces(bus: string, id: string): boolean {
    return existsSync(join(this.#root, this.#device(bus, id), 'net'))
  }

  /** Whether a PCI device belongs to a driver that hands it to user space. */
  isUserSpace(id: string): boolean {
    try {
      return drivers.includes(basename(readlinkSync(join(this.#root, this.#device('pci', id), 'driver'))))
    } catch (error) {
      // No driver is bound.
      if (isErrno(error, 'ENOENT')) return false
      throw error
    }
  }

  /** Interfaces of a path as the configuration has it, below `/sys`. */
  below(path: string): Interfaces | null {
    return this.#interfaces(path.replace(/^\/sys\//, '').replace(/\/+$/, ''))
  }

  #interfaces(device: string): Interfaces | null {
    const folder = join(device, 'net')
    const names = entries(join(this.#root, folder))
    return names && { names, owner: basename(device), folder: join('/sys', folder) }
  }

  /** Interfaces of a PCI device or, where it is a virtio device, of the one on its virtio bus; of an auxiliary device. */
  interfacesOf(bus: Bus, id: string): Interfaces | null {
    const device = this.#device(bus, id)
    const own = this.#interfaces(device)
    if (own || bus !== 'pci') return own
    for (const name of entries(join(this.#root, device)) ?? []) {
      const virtio = name.startsWith('virtio') ? this.#interfaces(join(device, name)) : null
      if (virtio) return virtio
    }
    return null
  }

  /** The devices whose interfaces are a PCI device's own: itself, and those on its virtio bus. */
  ownersOf(id: string): string[] {
    const inside = entries(join(this.#root, this.#device('pci', id))) ?? []
    return [id, ...inside.filter((name) => name.startsWith('virtio'))]
  }
}
