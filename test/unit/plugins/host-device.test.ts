/** What host-device keeps about devices that are away, and what sysfs tells of them. */
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { type Note, Notes } from '../../../plugins/host-device/notes.ts'
import { Sysfs } from '../../../plugins/host-device/sysfs.ts'

const folder = (): string => {
  const made = mkdtempSync(join(tmpdir(), 'host-device-'))
  onTestFinished(() => rmSync(made, { recursive: true }))
  return made
}

const noteOf = (containerId: string, network: string, device: Partial<Note['device']> = {}): Note => ({
  ...{ network, containerId, ifName: 'eth0', netns: '/run/netns/x' },
  device: {
    ...{ name: 'nic0', alias: '', up: true, mac: '02:00:00:00:00:01', mtu: 1500 },
    ...{ permanentAddress: '02:00:00:00:00:01', parent: '0000:01:00.0', bus: 'pci' },
    ...device,
  },
})

test('a device that somebody else has taken since, under whatever name and in whatever network', () => {
  const notes = new Notes(folder())
  const own = noteOf('one', 'net')
  notes.write(own)
  expect(notes.isSuperseded(own)).toBe(false)
  notes.write(noteOf('two', 'net', { parent: '0000:01:00.1' }))
  // A card of two ports.
  notes.write(noteOf('three', 'net', { permanentAddress: '02:00:00:00:00:02' }))
  expect(notes.isSuperseded(own)).toBe(false)
  notes.write(noteOf('four', 'other', { name: 'eth7' }))
  expect(notes.isSuperseded(own)).toBe(true)
  notes.remove('other', { containerId: 'four', ifName: 'eth0' })
  expect(notes.isSuperseded(own)).toBe(false)
  expect(
    notes
      .list('net')
      .map(({ containerId }) => containerId)
      .sort(),
  ).toEqual(['one', 'three', 'two'])
})

test('a device has interfaces as long as its folder is there, though it looks empty from here', () => {
  const root = folder()
  mkdirSync(join(root, 'bus/pci/devices/0000:01:00.0/net'), { recursive: true })
  mkdirSync(join(root, 'bus/pci/devices/0000:02:00.0'), { recursive: true })
  const sysfs = new Sysfs(root)
  expect(sysfs.hasInterfaces('pci', '0000:01:00.0')).toBe(true)
  expect(sysfs.hasInterfaces('pci', '0000:02:00.0')).toBe(false)
  expect(sysfs.hasInterfaces('virtio', 'virtio0')).toBe(false)
  expect(() => sysfs.hasInterfaces('..', 'x')).toThrow(RangeError)
})
