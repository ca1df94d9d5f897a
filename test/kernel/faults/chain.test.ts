/** A chain fails anywhere: everything that its plugins have done is undone, and a DEL after it is content. */
import { expect, test } from 'vitest'
import { runChain } from '../../../cni/chain.ts'
import { parseConfList } from '../../../cni/conflist.ts'
import type { JsonObject } from '../../../cni/types.ts'
import { binDirs } from '../../support/plugin.ts'
import { plainEnv } from '../../support/program.ts'
import { settled } from '../../support/wait.ts'
import { node } from '../plugins/node.ts'
import { containerScript, hostScript, listOf, portMappings } from './chain.ts'
import { type Fault, FaultyTransport } from './transport.ts'

const setUp = async () => {
  const it = await node()
  const container = await it.host.container()
  for (const place of [it.host, container])
    await place.must('sh', ['-c', 'echo 0 >/proc/sys/net/ipv6/conf/default/accept_dad'])
  const host = { plugins: it.plugins, hostNetns: it.netns, environment: plainEnv }
  const target = { containerId: 'cid-1', ifName: 'eth0', netnsPath: container.path, path: binDirs.go }
  const call = (verb: 'ADD' | 'CHECK' | 'DEL', text = local(listOf())) =>
    runChain({
      ...{ ...target, host, verb, network: parseConfList(text) },
      cacheDir: it.host.file('/var/lib/cni'),
      capabilityArgs: { portMappings },
    })
  /** Paths as a process outside of the host's mount namespace has to see them. */
  const local = (text: string): string => {
    const list = JSON.parse(text)
    for (const conf of list.plugins as Record<string, JsonObject | string>[]) {
      if (conf.ipam)
        conf.ipam = { ...(conf.ipam as JsonObject), dataDir: it.host.file('/var/lib/cni/networks') }
      if (conf.type === 'tuning') conf.dataDir = it.host.file('/run/cni/tuning')
    }
    return JSON.stringify(list)
  }
  const look = async () => {
    await settled(it.host)
    return [
      ...(await it.host.must('sh', ['-c', hostScript])).split('\n'),
      ...(await container.must('sh', ['-c', containerScript])).split('\n'),
    ].sort()
  }
  // The bridge and the tables outlive their attachments; with another container in it the bridge stays up.
  const standing = await it.host.container('standing')
  await it.add(JSON.parse(local(listOf())).plugins[0], { container: standing, containerId: 'standing' })
  await call('ADD')
  await call('DEL')
  return { call, look, local }
}

test('it works', async () => {
  const { call, look } = await setUp()
  const after = await look()
  await call('ADD')
  await call('CHECK')
  expect((await look()).length).toBeGreaterThan(after.length + 20)
  await call('DEL')
  await call('DEL')
  expect(await look()).toEqual(after)
})

test.each<Fault>(['unsent', 'unanswered', 'refused'])('%s', { timeout: 120_000 }, async (fault) => {
  const { call, look } = await setUp()
  const before = await look()
  let number = 1
  for (; ; number++) {
    const faulty = new FaultyTransport(fault, number)
    faulty.install()
    const error = await call('ADD').then(
      () => undefined,
      (failure: Error) => failure,
    )
    faulty.uninstall()
    if (!faulty.struck) {
      expect(error).toBeUndefined()
      await call('DEL')
      break
    }
    if (error) {
      expect(error.message, `${fault} ${number}`).toContain('ENOMEM')
      expect(error.message, `${fault} ${number}`).not.toContain('could not be undone')
      expect(await look(), `${fault} ${number}: ${error.message}`).toEqual(before)
    } else await call('CHECK')
    await call('DEL')
  }
  expect(await look()).toEqual(before)
  expect(number).toBeGreaterThan(20)
})

test('the last plugin fails, ours or not: DEL afterwards is content without a result', async () => {
  const { call, look, local } = await setUp()
  const before = await look()
  const nowhere = { type: 'tuning', sysctl: { 'net.ipv4.conf.nowhere.x': '1' } }
  await expect(call('ADD', local(listOf(nowhere)))).rejects.toThrow(/plugin type="tuning" failed \(add\)/)
  expect(await look()).toEqual(before)
  await call('DEL', local(listOf(nowhere)))
  // Executed: it is not ours.
  const foreign = { type: 'bandwidth-of-somebody-else' }
  await expect(call('ADD', local(listOf(foreign)))).rejects.toThrow(/failed to find plugin/)
  expect(await look()).toEqual(before)
})
