import { expect, test } from 'vitest'
import { CniError } from '../../../cni/error.ts'
import { type Firewalld, firewalldOf } from '../../../plugins/firewall/firewalld.ts'
import { eventually } from '../../support/wait.ts'
import { answer, booleanBody, peer, refusal, stringBody } from './dbus-peer.ts'

const source = '10.1.2.3/32'

/** A bus with a firewalld that answers each of its methods with what is given here: a refusal where it is a text. */
const firewalld = async (
  answers: Record<string, (serial: number) => Buffer | null>,
  undo?: { running: boolean },
  signal?: AbortSignal,
) => {
  const made = await peer(({ member, serial }) => {
    if (member === 'Hello') return answer(serial, 's', stringBody(':1.7'))
    if (member === 'NameHasOwner') return answer(serial, 'b', booleanBody(true))
    return answers[member]?.(serial) ?? null
  })
  const found = await firewalldOf({ socket: made.socket, deadline: 200, undo, signal })
  if (!found) throw new Error('there is no firewalld')
  return { ...made, found }
}

const refuses =
  (text: string, name = 'org.fedoraproject.FirewallD1.Exception') =>
  (serial: number) =>
    refusal(serial, name, text)
const says = (text: string) => (serial: number) => answer(serial, 's', stringBody(text))

test('no bus, and a bus without firewalld', async () => {
  expect(await firewalldOf({ socket: '/nowhere/bus' })).toBeNull()
  const { socket, members, connections } = await peer(({ member, serial }) =>
    member === 'Hello' ? answer(serial, 's', stringBody(':1.7')) : answer(serial, 'b', booleanBody(false)),
  )
  expect(await firewalldOf({ socket })).toBeNull()
  expect(members).toEqual(['Hello', 'NameHasOwner'])
  await eventually('the connection has ended', () => connections.size === 0)
})

test('a bus that hangs is an error after its deadline, and one that was given up at once', async () => {
  const { socket } = await peer(() => null)
  await expect(firewalldOf({ socket, busDeadline: 30 })).rejects.toMatchObject({
    code: 11,
    msg: expect.stringContaining('the system bus does not answer'),
  })
  const reason = new Error('given up')
  const controller = new AbortController()
  const asked = firewalldOf({ socket, signal: controller.signal })
  controller.abort(reason)
  await expect(asked).rejects.toBe(reason)
  await expect(firewalldOf({ socket, signal: controller.signal })).rejects.toBe(reason)
})

const calls: Readonly<Record<string, (firewalld: Firewalld) => Promise<unknown>>> = {
  addSource: (one) => one.addSource('trusted', source),
  removeSource: (one) => one.removeSource('trusted', source),
  querySource: (one) => one.querySource('trusted', source),
  getZoneOfSource: (one) => one.zoneOfSource(source),
}

test.each([
  ['addSource', says('trusted'), true],
  ['addSource', refuses("ZONE_ALREADY_SET: '10.1.2.3/32' already bound to 'trusted'"), false],
  ['addSource', refuses('ALREADY_ENABLED'), false],
  ['removeSource', says('trusted'), true],
  ['removeSource', refuses("UNKNOWN_SOURCE: '10.1.2.3/32' is not in any zone"), false],
  ['removeSource', refuses('NOT_ENABLED: x'), false],
  ['removeSource', refuses("ZONE_CONFLICT: remove_source(trusted, 10.1.2.3/32): zos='public'"), false],
  ['removeSource', refuses('INVALID_ZONE: trusted'), false],
  ['querySource', (serial: number) => answer(serial, 'b', booleanBody(true)), true],
  ['querySource', (serial: number) => answer(serial, 'b', booleanBody(false)), false],
  ['getZoneOfSource', says('public'), 'public'],
  ['getZoneOfSource', says(''), null],
])('%s: an answer (%#)', async (member, reply, expected) => {
  const { found } = await firewalld({ [member]: reply })
  expect(await calls[member]!(found)).toBe(expected)
  found.close()
})

test.each([
  ['addSource', refuses('INVALID_ZONE: trusted'), 7, 'firewalld has no zone "trusted"; see'],
  ['querySource', refuses('INVALID_ZONE: trusted'), 7, 'firewalld has no zone "trusted"; see'],
  [
    'addSource',
    refuses('PANIC_MODE: x'),
    999,
    'firewalld: add source 10.1.2.3/32 to zone "trusted": PANIC_MODE: x; firewalld is in panic mode',
  ],
  ['addSource', refuses('INVALID_ADDR: x'), 999, 'INVALID_ADDR: x'],
  [
    'removeSource',
    refuses('COMMAND_FAILED: x'),
    999,
    'firewalld: remove source 10.1.2.3/32 from zone "trusted": COMMAND_FAILED: x',
  ],
  [
    'addSource',
    refuses('gone', 'org.freedesktop.DBus.Error.ServiceUnknown'),
    999,
    'firewalld has stopped meanwhile',
  ],
  ['addSource', () => null, 11, 'has not answered addSource in 200 ms; look at `firewall-cmd --state`'],
  ['querySource', says('yes'), 999, 'querySource with string'],
  ['querySource', (serial: number) => answer(serial, 'a{sv}', Buffer.alloc(8)), 999, 'is not understood'],
] as const)('%s: a failure (%#)', async (member, reply, code, message) => {
  const { found } = await firewalld({ [member]: reply })
  const error = CniError.from(await calls[member]!(found).catch((cause: unknown) => cause))
  expect(error).toMatchObject({ code, message: expect.stringContaining(message) })
  found.close()
})

test('a source of another zone is told with that zone', async () => {
  const { found } = await firewalld({
    addSource: refuses("ZONE_CONFLICT: '10.1.2.3/32' already bound to a zone"),
    getZoneOfSource: says('drop'),
  })
  await expect(calls.addSource!(found)).rejects.toMatchObject({
    msg: 'firewalld: 10.1.2.3/32 is a source of zone "drop" already, not of "trusted"',
    details: expect.stringContaining('firewall-cmd --zone=drop --remove-source=10.1.2.3/32'),
  })
  found.close()
})

test('what was given up is taken back through the same connection', async () => {
  const undo = { running: false }
  const controller = new AbortController()
  const { found, members } = await firewalld({ removeSource: says('trusted') }, undo, controller.signal)
  const added = calls.addSource!(found)
  await eventually('firewalld was asked', () => members.includes('addSource'))
  const reason = new Error('given up')
  controller.abort(reason)
  await expect(added).rejects.toBe(reason)
  await expect(calls.removeSource!(found)).rejects.toBe(reason)
  undo.running = true
  expect(await calls.removeSource!(found)).toBe(true)
  found.close()
})
