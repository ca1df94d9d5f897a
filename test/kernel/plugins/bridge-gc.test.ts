import { describe, expect, onTestFinished, test, vi } from 'vitest'
import type { JsonObject } from '../../../cni/types.ts'
import { Connection } from '../../../netlink/connection.ts'
import { binDirs, mustRunPlugin } from '../../support/plugin.ts'
import { classic, errorOf, fixed, linkOf, type Node, node, vethsOf } from './node.ts'

const conf: JsonObject = { ...classic, macspoofchk: true }
const names = ['one', 'two', 'three'] as const

const gc = (it: Node, own: JsonObject, valid?: readonly string[]): Promise<unknown> =>
  it.call('GC', {
    ...own,
    ...(valid
      ? { 'cni.dev/valid-attachments': valid.map((containerID) => ({ containerID, ifname: 'eth0' })) }
      : {}),
  })

/** Whose things are left on the host, of each kind. */
const left = async ({ host }: Node) => {
  const rules = `${await host.must('nft', ['list', 'ruleset'])}\n${await host.must('iptables-save', [])}`
  const files = await host.run('sh', ['-c', 'cat /var/lib/cni/networks/*/10.* 2>/dev/null'])
  const veths = (await vethsOf(host)).map(({ ifalias }) => ifalias ?? '')
  const of = (text: string, pattern: (name: string) => RegExp) =>
    names.filter((name) => pattern(name).test(text))
  return {
    veths: of(veths.join('\n'), (name) => new RegExp(`/${name}/`)),
    masquerade: of(rules, (name) => new RegExp(`saddr.*id: ${name}`)),
    iptables: of(rules, (name) => new RegExp(`-A POSTROUTING.*id: \\\\"${name}`)),
    spoof: of(rules, (name) => new RegExp(`cni-br-iface-${name}-eth0`)),
    addresses: of(files.stdout, (name) => new RegExp(`${name}\\r`)),
  }
}

describe('GC', () => {
  const attached = async (own = conf) => {
    const it = await node()
    for (const containerId of names)
      await it.add(own, { container: await it.host.container(containerId), containerId })
    return it
  }

  test('removes everything of attachments that are not in the list', async () => {
    const it = await attached()
    await gc(it, conf, ['two'])
    expect(await left(it)).toEqual({
      veths: ['two'],
      masquerade: ['two'],
      iptables: [],
      spoof: ['two'],
      addresses: ['two'],
    })
    await gc(it, conf, [])
    expect(Object.values(await left(it)).flat()).toEqual([])
    await gc(it, conf, [])
  })

  test('removes what the iptables backend has made', async () => {
    const own = { ...conf, ipMasqBackend: 'iptables' }
    const it = await attached(own)
    expect((await left(it)).iptables).toEqual([...names])
    await gc(it, conf, ['three'])
    expect((await left(it)).iptables).toEqual(['three'])
  })

  test('leaves other networks alone', async () => {
    const it = await attached()
    await gc(it, { ...fixed('10.9.0.5/24'), name: 'other' }, [])
    expect(await left(it)).toMatchObject({
      veths: [...names],
      masquerade: [...names],
      spoof: [...names],
      addresses: [...names],
    })
  })

  test('leaves the spoof check of an attachment that another network gets when the links are listed already', async () => {
    const it = await node()
    const container = await it.host.container('one')
    const other = { ...fixed('10.9.0.5/24'), name: 'other', bridge: 'cni1', macspoofchk: true }
    // Another process does it at this very moment.
    let comes = async (): Promise<void> => {
      comes = async () => {}
      await it.add(other, { container, containerId: 'one' })
    }
    const { run } = Connection.prototype
    const spy = vi.spyOn(Connection.prototype, 'run').mockImplementation(async function (
      this: Connection,
      request,
    ) {
      const answer = await run.call(this, request)
      if (request.op === 'list links') await comes()
      return answer
    })
    onTestFinished(() => spy.mockRestore())
    await gc(it, conf, [])
    expect((await left(it)).spoof).toEqual(['one'])
  })

  test('without a list removes nothing, and says what is wrong with one that is none', async () => {
    const it = await attached()
    await gc(it, conf)
    const error = await errorOf(it.call('GC', { ...conf, 'cni.dev/valid-attachments': [{ ifname: 3 }] }))
    expect(error).toMatchObject({ code: 7, details: 'nothing was removed' })
    expect((await left(it)).veths).toEqual([...names])
  })

  test("removes the reference plugin's rules and addresses, whose containers are gone", async () => {
    const it = await node()
    for (const name of names) {
      const container = await it.host.container(name)
      await mustRunPlugin({
        host: it.host,
        binDir: binDirs.go,
        type: 'bridge',
        command: 'ADD',
        containerId: name,
        netns: container,
        conf: { cniVersion: '1.0.0', name: 'net', type: 'bridge', ...conf },
      })
      await container.close()
    }
    await gc(it, conf, ['one'])
    const { iptables, addresses } = await left(it)
    expect({ iptables, addresses }).toEqual({ iptables: ['one'], addresses: ['one'] })
  })

  test('goes on after an error, and reports it', async () => {
    const it = await attached()
    const error = await errorOf(gc(it, { ...conf, ipam: { type: 'not-installed' } }, []))
    expect(error.msg).toContain('failed to find plugin "not-installed"')
    expect(await left(it)).toMatchObject({ veths: [], masquerade: [], spoof: [] })
  })
})

describe('STATUS', () => {
  test('of a network that works', async () => {
    const it = await node()
    await it.call('STATUS', conf)
    await it.add(conf, { container: await it.host.container() })
    await it.call('STATUS', conf)
    expect((await linkOf(it.host, 'cni0')).operstate).toBe('UP')
  })

  test.each([
    [
      'the name of the bridge is taken',
      conf,
      ['link', 'add', 'cni0', 'type', 'ifb'],
      50,
      /already exists but is not a bridge/,
    ],
    [
      'the configuration contradicts itself',
      { ...conf, hairpinMode: true, promiscMode: true },
      [],
      7,
      /hairpin mode/,
    ],
  ])('where %s', async (_why, own, command, code, msg) => {
    const it = await node()
    if (command.length > 0) await it.host.ip(...command)
    const error = await errorOf(it.call('STATUS', own))
    expect(error.msg).toMatch(msg)
    expect(error.code).toBe(code)
  })

  test('where all addresses are taken', async () => {
    const it = await node()
    const ipam = { type: 'host-local', subnet: '10.1.0.0/24', rangeStart: '10.1.0.7', rangeEnd: '10.1.0.7' }
    await it.call('STATUS', { ...conf, ipam })
    await it.add({ ...conf, ipam }, { container: await it.host.container() })
    expect(await errorOf(it.call('STATUS', { ...conf, ipam }))).toMatchObject({ code: 50 })
  })

  test('where iptables is asked for and can not be run', async () => {
    const it = await node()
    it.options = { environment: { PATH: '/nowhere' } }
    const own = { ...conf, ipMasqBackend: 'iptables' }
    const usual = ['/usr/sbin/iptables', '/sbin/iptables', '/usr/local/sbin/iptables']
    // The usual directories are searched in any case.
    const there = await it.host.run('ls', usual)
    if (there.stdout === '') expect(await errorOf(it.call('STATUS', own))).toMatchObject({ code: 50 })
    else await it.call('STATUS', own)
  })
})
