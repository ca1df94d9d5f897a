/** portmap, with an exchange or a program that fails, or killed at every call that changes the kernel. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { plainEnv } from '../../support/program.ts'
import type { Space } from '../../support/space.ts'
import { node } from '../plugins/node.ts'
import { attached, portmapConf, tcp, udp } from '../plugins/portmap.ts'
import { Patient } from './executed.ts'
import { type Fault, FaultyTransport } from './transport.ts'

const localnet = '/proc/sys/net/ipv4/conf/cni0/route_localnet'

/** What belongs to a container; what all share stays. */
const own = async (host: Space): Promise<string[]> => {
  const { stdout } = await host.run('sh', ['-c', `nft list ruleset; cat ${localnet}`])
  return stdout.split('\n').filter((line) => /CNI-DN-|10\.22\.0\.2|fd00:22::2|cid-2|^\d/.test(line))
}

const mappings = [tcp(8080, 80), udp(5353, 53)]

const faults: readonly Fault[] = ['unsent', 'unanswered', 'refused']
const cases = (['nftables', 'iptables'] as const).flatMap((backend) =>
  faults
    // Each look costs a few programs.
    .filter((fault) => backend === 'nftables' || fault !== 'unanswered')
    .map((fault) => ({ backend, fault })),
)

test.each(cases)('$backend: every exchange of an ADD, $fault', async ({ backend, fault }) => {
  const it = await node()
  const a = await attached(it, 2)
  const conf = portmapConf(mappings, { backend })
  const before = await own(it.host)
  const tolerated = new Set<number>()
  /** An ADD whose exchange of that number fails. @returns whether there is one */
  const strike = async (number: number): Promise<boolean> => {
    const faulty = new FaultyTransport(fault, number)
    faulty.install()
    it.warnings.length = 0
    const error = await it.add(conf, a).then(
      () => undefined,
      (failure: Error) => failure,
    )
    faulty.uninstall()
    const where = `${fault} ${number}: ${error?.message}`
    if (!faulty.struck) {
      expect(error).toBeUndefined()
      expect(it.warnings).toEqual([])
      await it.check(conf, a)
      expect(number).toBeGreaterThan(fault === 'refused' ? 2 : 5)
    } else if (error) {
      expect(error.message, where).toContain('ENOMEM')
      expect(error.message, where).not.toContain('could not be undone')
      expect(await own(it.host), where).toEqual(before)
    } else {
      // It can do without looking at flows, and asks once more for the interface that leads to the container.
      for (const warning of it.warnings) expect(warning, where).toMatch(/^UDP flows .*ENOMEM/)
      tolerated.add(it.warnings.length)
    }
    if (!error) {
      await it.del(conf, a)
      await it.host.must('sh', ['-ec', `echo 0 >${localnet}`])
      expect(await own(it.host), where).toEqual(before)
    }
    return faulty.struck
  }
  // The first ones make what all share: later ones have less to do, and come to the end.
  for (const _ of ['cold', 'warm']) for (let number = 1; await strike(number); number++);
  // Of refusals only those of rtnetlink.
  expect([...tolerated].sort()).toEqual(fault === 'refused' ? [0] : [1])
})

test('a program that fails takes the other family along', async () => {
  const it = await node()
  const a = await attached(it, 2)
  const before = await own(it.host)
  const bin = mkdtempSync(join(tmpdir(), 'portmap-'))
  onTestFinished(() => rmSync(bin, { recursive: true }))
  writeFileSync(
    join(bin, 'ip6tables-restore'),
    '#!/bin/sh\ncat >/dev/null\necho "out of memory" >&2\nexit 4\n',
    { mode: 0o755 },
  )
  it.options = { environment: { PATH: `${bin}:${plainEnv.PATH}` } }
  const conf = portmapConf(mappings, { backend: 'iptables' })
  await expect(it.add(conf, a)).rejects.toThrow(
    /^failed to map ports: ip6tables-restore --noflush: out of memory/,
  )
  expect(await own(it.host)).toEqual(before)
})

test('many at the same time find each others chains', async () => {
  const it = await node()
  const all = [await attached(it, 2), await attached(it, 3), await attached(it, 4), await attached(it, 5)]
  const conf = (i: number) => portmapConf([tcp(8000 + i, 80)], { backend: 'iptables' })
  await Promise.all(all.map((a, i) => it.add(conf(i), a)))
  for (const [i, a] of all.entries()) await it.check(conf(i), a)
  const jumps = (await it.host.must('iptables', ['-t', 'nat', '-S', 'PREROUTING'])).match(
    /-j CNI-HOSTPORT-DNAT/g,
  )
  expect(jumps).toHaveLength(1)
  await Promise.all(all.map((a) => it.del({ type: 'portmap' }, a)))
  expect(await it.host.must('iptables', ['-t', 'nat', '-S'])).not.toContain('CNI-DN-')
})

test('iptables: an executed ADD that is killed anywhere leaves nothing that DEL does not remove', {
  timeout: 60_000,
}, async () => {
  const node0 = await node()
  const a = await attached(node0, 2)
  const prevResult = JSON.parse(
    JSON.stringify(a.prevResult).replaceAll(a.container.path, a.container.sandbox),
  ) as object
  const conf = {
    ...portmapConf(mappings, { backend: 'iptables' }),
    ipam: undefined,
    prevResult: { ...prevResult, cniVersion: '1.0.0' },
  }
  const it = new Patient(node0.host, a.container, { conf, children: false })
  const unset = () => node0.host.must('sh', ['-ec', `echo 0 >${localnet}`])
  const before = await own(node0.host)
  // At each exchange, and wherever a program is started.
  const calls = await it.trace(['sendto', 'clone', 'vfork'])
  await it.run('DEL')
  await unset()
  expect(await own(node0.host)).toEqual(before)
  expect(calls.length).toBeGreaterThanOrEqual(5)
  const reached: string[] = []
  for (const call of calls) {
    const { signal, status } = await it.tampered(call, 'signal=SIGKILL')
    // How often threads are started is chance.
    expect(signal ?? status, call.text).toSatisfy((how) => how === 'SIGKILL' || how === 0)
    reached.push(...(await own(node0.host)))
    expect((await it.run('DEL')).error, call.text).toBeNull()
    await unset()
    expect(await own(node0.host), call.text).toEqual(before)
  }
  expect(reached.join('\n')).toMatch(/10\.22\.0\.2/)
  expect((await it.run('ADD')).error).toBeNull()
  expect((await it.run('CHECK')).error).toBeNull()
})
