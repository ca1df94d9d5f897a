import * as z from 'zod/mini'
import { commonConf, expects, flag, mac, runtimeConfigOf, text, texts } from '../../cni/schema.ts'
import { isLinkName, parseMac } from '../../netlink/index.ts'

const KERNEL_PATH = '/sys/devices/'

/** IFNAMSIZ and ALTIFNAMSIZ without the NUL; linux/if.h, linux/netdevice.h. */
const isName = (value: string): boolean =>
  value.length > 15 ? Buffer.byteLength(value) <= 127 && !value.includes('\0') : isLinkName(value)

/** One component of a path: nothing that leads out of the folder it is looked for in. */
export const isComponent = (value: string): boolean =>
  /^[^/\0]+$/.test(value) && value !== '.' && value !== '..' && Buffer.byteLength(value) <= 255

/** Every key of the host-device plugin. Of several devices, the first of `device`, `hwaddr`, `kernelpath`, `pciBusID`. */
export const hostDeviceConf = z.object({
  ...commonConf,
  /** Name, or alternative name, of the device on the host. */
  device: z._default(text.check(expects((value) => value === '' || isName(value), 'interface name')), ''),
  /** The device with this MAC address. */
  hwaddr: z._default(
    text.check(expects((value) => value === '' || parseMac(value) !== null, 'hardware address')),
    '',
  ),
  /** The first interface of this device: a path below `/sys/devices/`. */
  kernelpath: z._default(
    text.check(
      expects(
        (value) =>
          value === '' ||
          (value.startsWith(KERNEL_PATH) &&
            value.slice(1).replace(/\/+$/, '').split(/\/+/).every(isComponent)),
        `path below ${KERNEL_PATH} without ".."`,
      ),
    ),
    '',
  ),
  /** The first interface of this PCI device: `0000:00:1f.6`. */
  pciBusID: z._default(text.check(expects((value) => value === '' || isComponent(value), 'PCI address')), ''),
  /** The device belongs to a driver of user space: no interface is moved. Of a PCI device its driver tells. */
  DPDKMode: flag,
  /** `deviceID` takes the place of `pciBusID`, or names a device of the auxiliary bus. */
  runtimeConfig: runtimeConfigOf({
    mac: z.optional(mac),
    ips: z.optional(texts),
    deviceID: z.optional(
      text.check(expects((value) => value === '' || isComponent(value), 'id of a PCI or auxiliary device')),
    ),
  }),
})

export type HostDeviceConf = z.infer<typeof hostDeviceConf>
