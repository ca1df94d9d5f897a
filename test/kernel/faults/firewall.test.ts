/** The firewall plugin, with an exchange or a program that fails, or killed at every call that changes the kernel. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { plainEnv } from '../../support/program.ts'
import type { Space } from '../../support/space.ts'
import { attach, firewallConf } from '../plugins/firewall.ts'
import { node } from '../plugins/node.ts'
import { Patient } from './executed.ts'
import { type Fault, FaultyTransport } from './transport.ts'

/** What belongs to a container or a bridge; what all share stays. */
const own = async (host: Space): Promise<string[]> => {
  const text = `${await host.must('iptables', ['-S'])}${await host.must('ip6tables', ['-S'])}`
  return text.split('\n').filter((line) => /10\.22\.0\.|fd22::|cni0/.test(line))
}

/** A bridge with a container, whose firewall is to be made or was. */
const prepared = async (ingressPolicy = 'isolated') => {
  const it = await node()
  const { call } = await attach(
    it,
    'blue',
    { '10.22.0.5/16': '10.22.0.1', 'fd22::5/64': 'fd22::1' },
    { conf: { ingressPolicy } },
  )
  return { it, call, conf: firewallConf({ ingressPolicy }) }
}

const faults: readonly Fault[] = ['unsent', 'unanswered', 'refused']

test.each(faults)('every exchange of an ADD: %s', async (fault) => {
  const { it, call, conf } = await prepared()
  await it.del(conf, call)
  // Whose policy the bridge has comes back.
  for (const earlier of [undefined, 'same-bridge']) {
    if (earlier) await it.add(firewallConf({ ingressPolicy: earlier }), { ...call, containerId: 'other' })
    const before = await own(it.host)
    for (let number = 1; ; number++) {
      const faulty = new FaultyTransport(fault, number)
      faulty.install()
      const error = await it.add(conf, call).then(
        () => undefined,
        (failure: Error) => failure,
      )
      faulty.uninstall()
      const where = `${fault} ${number}: ${error?.message}`
      if (!faulty.struck) {
        expect(error).toBeUndefined()
        await it.check(conf, call)
        expect(number).toBeGreaterThan(fault === 'refused' ? 1 : 5)
        break
      }
      expect(error?.message, where).toContain('ENOMEM')
      expect(error?.message, where).not.toContain('could not be undone')
      expect((await own(it.host)).sort(), where).toEqual([...before].sort())
    }
    await it.del(conf, call)
  }
})

test.each(faults)('every exchange of a DEL: %s', async (fault) => {
  const { it, call, conf } = await prepared()
  for (let number = 1; ; number++) {
    const faulty = new FaultyTransport(fault, number)
    faulty.install()
    const error = await it.del(conf, call).then(
      () => undefined,
      (failure: Error) => failure,
    )
    faulty.uninstall()
    if (!faulty.struck) {
      expect(error).toBeUndefined()
      expect(await own(it.host)).toEqual([])
      return
    }
    expect(error?.message).toContain('ENOMEM')
    await it.del(conf, call)
    expect(await own(it.host), `${fault} ${number}`).toEqual([])
    await it.add(conf, call)
  }
})

test('a program that fails takes the other family along', async () => {
  const { it, call } = await prepared()
  await it.del(firewallConf(), call)
  const bin = mkdtempSync(join(tmpdir(), 'firewall-'))
  onTestFinished(() => rmSync(bin, { recursive: true }))
  writeFileSync(
    join(bin, 'ip6tables-restore'),
    '#!/bin/sh\ncat >/dev/null\necho "out of memory" >&2\nexit 4\n',
    { mode: 0o755 },
  )
  it.options = { environment: { PATH: `${bin}:${plainEnv.PATH}` } }
  const conf = firewallConf({ backend: 'iptables', ingressPolicy: 'same-bridge' })
  await expect(it.add(conf, call)).rejects.toThrow(/^firewall: ip6tables-restore --noflush: out of memory/)
  expect(await own(it.host)).toEqual([])
})

test.each(['nftables', 'iptables'])(
  '%s: an executed ADD or DEL that is killed anywhere',
  {
    timeout: 60_000,
  },
  async (backend) => {
    const { it: made, call } = await prepared()
    await made.del(firewallConf(), call)
    const { container } = call
    if (!container) throw new Error('there is no container')
    const prevResult = JSON.parse(
      JSON.stringify(call.prevResult).replaceAll(container.path, container.sandbox),
    ) as object
    const conf = {
      ...firewallConf({ backend, ingressPolicy: 'isolated' }),
      ipam: undefined,
      prevResult: { ...prevResult, cniVersion: '1.0.0' },
    }
    const it = new Patient(made.host, container, { conf, children: false })
    const reached: string[] = []
    for (const verb of ['ADD', 'DEL']) {
      if (verb === 'DEL') await it.run('ADD')
      const traced = await it.trace(['sendto', 'clone', 'vfork'], verb)
      // Over netlink one exchange changes permits, and one the bridge's rules: the others only look.
      const calls = traced.filter(({ name, text }) => name !== 'sendto' || text.includes('BATCH'))
      await it.run('DEL')
      expect(calls.length).toBeGreaterThan(verb === 'ADD' && backend === 'iptables' ? 3 : 0)
      for (const each of calls) {
        if (verb === 'DEL') expect((await it.run('ADD')).error, each.text).toBeNull()
        const { signal, status } = await it.tampered(each, 'signal=SIGKILL', verb)
        // How often threads are started is chance.
        expect(signal ?? status, each.text).toSatisfy((how) => how === 'SIGKILL' || how === 0)
        if (verb === 'ADD') reached.push(...(await own(made.host)))
        expect((await it.run('DEL')).error, each.text).toBeNull()
        expect(await own(made.host), each.text).toEqual([])
      }
    }
    // A killed transaction was carried out, or not at all.
    if (backend === 'iptables') expect(reached.join('\n')).toMatch(/10\.22\.0\.5/)
    expect((await it.run('ADD')).error).toBeNull()
    expect((await it.run('CHECK')).error).toBeNull()
  },
)
