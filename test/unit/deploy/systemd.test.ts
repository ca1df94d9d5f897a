/** What the units of deploy/systemd promise. */
import { expect, test } from 'vitest'
import { read } from '../house/sources.ts'

const settings = read('deploy/systemd/linkwright.service')
  .split('\n')
  .filter((line) => /^\w+=/.test(line))

test('the daemon may use every device: tap opens /dev/net/tun', () => {
  expect(settings.length).toBeGreaterThan(20)
  // ProtectClock adds DeviceAllow=char-rtc, which closes all other devices before systemd 253.
  expect(settings.filter((line) => /^(?:PrivateDevices|Device\w+|ProtectClock)=/.test(line))).toEqual([])
})

test('the daemon may not set the clock', () => {
  const value = (name: string): string => settings.find((line) => line.startsWith(`${name}=`)) ?? ''
  expect(value('SystemCallFilter')).toMatch(/=~@clock /)
  expect(value('CapabilityBoundingSet')).toContain('CAP_SYS_ADMIN')
  expect(value('CapabilityBoundingSet')).not.toMatch(/CAP_SYS_TIME|CAP_WAKE_ALARM/)
})
