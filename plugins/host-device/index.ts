/** `host-device`: one of the host's own interfaces, moved into the container and back. */
import { CniError, codes } from '../../cni/error.ts'
import { type Attachment, type Context, definePlugin } from '../../cni/plugin.ts'
import { type AttachmentId, allVersions, type Result } from '../../cni/types.ts'
import { type Link, link, Netns, TimeoutError } from '../../netlink/index.ts'
import { assign, assignedMtu } from '../shared/assign.ts'
import {
  checkConfiguration,
  checkFailed,
  checkLink,
  containerInterface,
  requirePrevResult,
} from '../shared/check.ts'
import { configureLink } from '../shared/configure.ts'
import { chooseDns } from '../shared/dns.ts'
import { Failures } from '../shared/failures.ts'
import { removeAndRelease } from '../shared/release.ts'
import { interfaceEntry, tellsMtu } from '../shared/result.ts'
import { type Chosen, choose, isNamed, namesDevice } from './choose.ts'
import { type HostDeviceConf, hostDeviceConf } from './conf.ts'
import { bringHome, type Search } from './home.ts'
import { moveIn } from './move.ts'
import { type Note, Notes } from './notes.ts'
import { aliasedInContainer, aliasedOnHost, nameInAlias, notedInContainer, notedOnHost } from './recognise.ts'
import { Sysfs } from './sysfs.ts'

/** Folders that tests choose. */
export interface HostDeviceOptions {
  /** Default `/sys`. */
  readonly sysfs?: string | undefined
  /** Where is kept what devices were like before they were moved. Default `/run/linkwright/host-device`. */
  readonly notes?: string | undefined
}

type Own = Attachment<HostDeviceConf>
type Way = Pick<Search, 'note' | 'inContainer' | 'onHost' | 'nameOf' | 'isAway'>

/** Milliseconds that the kernel may take to give back what was in a namespace. */
const RETURN_TIMEOUT = 5_000

/** How the device of a note is found. */
const byNote = (note: Note, notes: Notes, sysfs: Sysfs): Way => ({
  note,
  inContainer: (links) => notedInContainer(note, links),
  onHost: (links) => notedOnHost(note, links),
  nameOf: () => note.device.name,
  // A virtual device has gone with the namespace; hardware tells, and may have been taken out or given to another.
  isAway() {
    const { kind, bus, parent } = note.device
    if (kind !== undefined || bus === undefined || parent === undefined) return false
    return sysfs.hasInterfaces(bus, parent) && !notes.isSuperseded(note)
  },
})

/** How one that the Go plugin has moved is found. */
const byAlias = ({ conf, ifName, prevResult }: Own, sysfs: Sysfs): Way => {
  const listed = prevResult?.interfaces?.find(({ name, sandbox }) => sandbox && name === ifName)
  const signs = { ifName, mac: listed?.mac, isNamed: (found: Link) => isNamed(found, conf, sysfs) }
  return {
    note: null,
    inContainer: (links) => aliasedInContainer(signs, links),
    onHost: (links) => aliasedOnHost(signs, links),
    nameOf: (found) => nameInAlias(found) ?? found.name,
    isAway: () => false,
  }
}

/** Makes the plugin. */
export const defineHostDevice = (options: HostDeviceOptions = {}) => {
  const sysfs = new Sysfs(options.sysfs ?? '/sys')
  const notes = new Notes(options.notes ?? '/run/linkwright/host-device')

  /** Brings the attachment's device home, and forgets about it. */
  const release = async (attachment: Own): Promise<number | undefined> => {
    const { host, hostNetns, netns, network, undo } = attachment
    const note = notes.read(network, attachment)
    const index = await bringHome({
      ...(note ? byNote(note, notes, sysfs) : byAlias(attachment, sysfs)),
      host,
      hostNetns,
      container: netns && attachment.container,
      patience: RETURN_TIMEOUT,
      // What undoes is not stopped by what it was called for.
      signal: undo.running ? undefined : attachment.signal,
    })
    notes.remove(network, attachment)
    return index
  }

  /** The same for an attachment whose runtime has forgotten it. */
  const collect = async ({ host, hostNetns, log, signal }: Context<unknown>, note: Note): Promise<void> => {
    let netns: Netns | null = null
    try {
      netns = Netns.open(note.netns)
    } catch (error) {
      log.debug(`the namespace of ${note.containerId} is gone: ${String(error)}`)
    }
    try {
      const container = netns?.connect() ?? null
      try {
        await bringHome({
          ...byNote(note, notes, sysfs),
          ...{ host, hostNetns, container, patience: 0, signal },
        })
      } finally {
        container?.close()
      }
    } finally {
      netns?.close()
    }
    notes.remove(note.network, note)
  }

  /** The result's interface of a device that belongs to user space. */
  const untouched = ({ ifName, netnsPath, cniVersion }: Own, { pciID }: Chosen) => ({
    name: ifName,
    sandbox: netnsPath,
    pciID: tellsMtu({ cniVersion }) ? pciID : undefined,
  })

  const add = async (attachment: Own): Promise<Result> => {
    const { conf, container, ifName, netnsPath, cniVersion, log } = attachment
    const chosen = await choose(attachment, sysfs)
    // Read now: what is wrong with IPAM is to be refused before anything is touched.
    void attachment.ipam
    const moved = chosen.link && (await moveIn(attachment, chosen.link, notes, () => release(attachment)))
    const assigned = await assign(attachment)
    const mtu = assignedMtu(attachment, assigned) ?? moved?.mtu
    const entry =
      moved && mtu !== undefined
        ? {
            ...interfaceEntry(attachment, { name: ifName, address: moved.address, mtu }, netnsPath),
            pciID: tellsMtu({ cniVersion }) ? chosen.pciID : undefined,
          }
        : untouched(attachment, chosen)
    const interfaces = [entry]
    if (!assigned) {
      if (moved) await container.run(link.set(moved.index, { up: true }))
      return { interfaces }
    }
    const ips = (assigned.ips ?? []).map(({ address, gateway }) => ({ address, gateway, interface: 0 }))
    const routes = assigned.routes ?? []
    if (moved) {
      const { up = false, carrier } = chosen.link ?? {}
      const wait = !(up && carrier === false)
      try {
        await configureLink(attachment, {
          ...{ index: moved.index, name: ifName, ips, routes },
          ...{ dad: true, wait, arpNotify: false },
        })
      } catch (error) {
        if (!(error instanceof TimeoutError)) throw error
        // Without a cable nothing is heard of duplicates, as nothing was of the cable before the device was up.
        if ((await container.run(link.get(moved.index))).carrier !== false) throw error
        log.warn(
          `${chosen.link?.name} has no carrier: duplicates of its IPv6 addresses could not be looked for`,
        )
      }
    }
    return { interfaces, ips, routes, dns: chooseDns(conf.dns, assigned.dns) }
  }

  const check = async (attachment: Own): Promise<void> => {
    const { conf, container, ipam, network } = attachment
    const result = requirePrevResult(attachment)
    const entry = containerInterface(result, attachment)
    const note = notes.read(network, attachment)
    await ipam?.check()
    // A device of user space: the kernel has nothing of it to look at.
    if (!note && !entry.mac) return
    // Plugins behind this one may change the MTU.
    const found = await checkLink(container, { ...entry, mtu: undefined })
    if (!found.up) throw checkFailed(`interface ${found.name} is down`)
    const old = nameInAlias(found)
    if (old === undefined || (note && old !== note.device.name))
      throw checkFailed(
        `interface ${found.name} has lost the name that it had on the host`,
        `its alias is ${JSON.stringify(found.alias ?? '')}${note ? `, and was ${note.device.name}` : ''}`,
      )
    if (conf.device !== '' && conf.device.length <= 15 && !note && old !== conf.device)
      throw checkFailed(
        `interface ${found.name} was ${old} on the host, the configuration says ${conf.device}`,
      )
    await checkConfiguration(attachment, found, result)
  }

  return definePlugin({
    type: 'host-device',
    kind: 'interface',
    versions: allVersions,
    conf: hostDeviceConf,
    add,
    check,

    /** The address is free in any case: a device can be lost for ever. */
    async del(attachment: Own): Promise<void> {
      const failures = new Failures()
      const remove = async () => {
        await failures.attempt(() => release(attachment))
        return true
      }
      await removeAndRelease(attachment, failures, remove, (ipam) => ipam.del())
      failures.raise()
    },

    async status(context: Context<HostDeviceConf>): Promise<void> {
      const { conf } = context
      // Where the runtime chooses a device for each container there is nothing to look for yet.
      if (namesDevice(conf) || !conf.capabilities?.deviceID)
        try {
          await choose(context, sysfs)
        } catch (error) {
          if (!(error instanceof CniError)) throw error
          throw new CniError({
            code: codes.notAvailable,
            msg: error.msg,
            details: error.details,
            cause: error,
          })
        }
      await context.ipam?.status()
    },

    /** Devices of attachments that are not in the list come back, whatever became of their containers. */
    async gc(context: Context<HostDeviceConf>, valid: readonly AttachmentId[]): Promise<void> {
      const isValid = (note: Note): boolean =>
        valid.some(({ containerId, ifName }) => containerId === note.containerId && ifName === note.ifName)
      const failures = new Failures()
      const remove = async () => {
        for (const note of notes.list(context.network))
          if (!isValid(note)) await failures.attempt(() => collect(context, note))
        return true
      }
      await removeAndRelease(context, failures, remove, (ipam) => ipam.gc(valid))
      failures.raise()
    },
  })
}

/** The host-device plugin. */
export const hostDevice = defineHostDevice()
