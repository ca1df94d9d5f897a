/** An executed ADD is killed at every call that changes the kernel; then DEL, and all is as before. */
import { expect, test } from 'vitest'
import { patient } from '../../kernel/faults/executed.ts'
import { plug } from '../../kernel/plugins/master.ts'

const ipam = { type: 'static', addresses: [{ address: '10.9.0.11/24' }], routes: [{ dst: '0.0.0.0/0' }] }

test.each([{ type: 'ipvlan', mode: 'l3' }, { type: 'vlan', vlanId: 100 }, { type: 'dummy' }])(
  '$type',
  async (own) => {
    const it = await patient({ conf: { ...own, master: 'eth1', ipam, mtu: own.type === 'dummy' ? 0 : 1400 } })
    // No addresses that come by themselves, sooner or later.
    for (const there of [it.host, it.container])
      await there.must('sh', ['-c', 'echo 1 >/proc/sys/net/ipv6/conf/all/disable_ipv6'])
    await plug(it.host, 'eth1')
    const before = await it.state()
    const calls = await it.trace(['sendto', 'pwrite64'])
    await it.run('DEL')
    expect(calls.length).toBeGreaterThan(2)
    const reached: string[] = []
    for (const call of calls) {
      const where = `${call.name} ${call.count} ${call.text}`
      expect((await it.tampered(call, 'signal=SIGKILL')).signal, where).toBe('SIGKILL')
      reached.push(...(await it.state()).filter((line) => !before.includes(line)))
      expect(await it.run('DEL'), where).toMatchObject({ status: 0, error: null })
      expect(await it.state(), where).toEqual(before)
    }
    // It was not always before anything was done.
    expect(reached.join('\n')).toContain('alias linkwright:net/cid-1/eth0')
    const { status, result } = await it.run('ADD')
    expect(status).toBe(0)
    expect((await it.run('CHECK', { prevResult: result })).error).toBeNull()
    await it.run('DEL')
    expect(await it.state()).toEqual(before)
  },
)
