/**
 * The daemon is killed wherever it changes anything: launchers go on by the standalone program, and nothing is left.
 * After a DEL by that, whatever the daemon had done until then, the host is as it was.
 */
import { expect, test } from 'vitest'
import { bridge, type MakeScene, portmap, type Scene } from './scenes.ts'
import { type DaemonCall, type Served, whereIs } from './served.ts'

/** What the daemon had done when it died, as an operator sees it. */
const look = 'ip -o link; ls -R /var/lib/cni; nft list ruleset; cat /proc/sys/net/ipv4/ip_forward'

const cases: readonly [
  name: string,
  MakeScene,
  least: { add: number; del: number },
  signs: readonly RegExp[],
][] = [
  // A bridge, a pair, two reservations, addresses on both sides, two transactions, the answer.
  [
    'bridge',
    bridge,
    { add: 9, del: 5 },
    [/ cni0: /, / veth\w+@/, /^10\.22\.0\.2$/m, /^fd00:22::2$/m, /ip saddr 10/, /^1$/m],
  ],
  ['portmap', portmap, { add: 2, del: 2 }, [/8080/]],
]

/** A call of the daemon's in which it dies. @param restore the host, before another try */
const killed = (
  { it }: Scene,
  verb: string,
  call: DaemonCall,
  restore: () => Promise<unknown>,
): Promise<Served> =>
  it.until(call, async () => {
    await it.start()
    const tracer = await it.tamper(call, 'signal=SIGKILL')
    const done = await it.call(verb)
    if (await it.hasDied()) return done
    await tracer.detach()
    await restore()
    return null
  })

test.each(cases)('ADD of %s', { timeout: 120_000 }, async (_, makeScene, { add: least }, signs) => {
  const scene = await makeScene()
  const { it, state, left, reset } = scene
  const fresh = await state()
  await it.start()
  const restore = async (): Promise<void> => {
    expect(await it.call('DEL')).toMatchObject({ status: 0, stdout: '' })
    await reset()
    expect(await state()).toEqual(fresh)
  }
  const calls = await it.changes('ADD', restore)
  await restore()
  expect(calls.length, calls.map(whereIs).join('\n')).toBeGreaterThanOrEqual(least)
  it.look(look)
  for (const call of calls) {
    const where = whereIs(call)
    const add = await killed(scene, 'ADD', call, restore)
    expect({ where, executed: add.executed, error: add.error }).toEqual({
      where,
      executed: ['DEL'],
      error: {
        cniVersion: '1.0.0',
        code: 11,
        msg: 'the linkwright daemon did not answer to the end',
        details: 'what it may have done was undone by the standalone program',
      },
    })
    expect(await left(), where).toEqual(fresh)
    await reset()
  }
  for (const sign of signs) expect(it.seen).toMatch(sign)
  await it.start()
  expect(await it.byDaemon('ADD')).toMatchObject({ status: 0 })
  await restore()
})

test.each(cases)('DEL of %s', { timeout: 120_000 }, async (_, makeScene, { del: least }) => {
  const scene = await makeScene()
  const { it, left } = scene
  await it.start()
  const add = async (): Promise<void> => {
    expect((await it.call('ADD')).error).toBeNull()
  }
  const fresh = await left()
  await add()
  expect(await left()).not.toEqual(fresh)
  const calls = await it.changes('DEL', add)
  expect(calls.length, calls.map(whereIs).join('\n')).toBeGreaterThanOrEqual(least)
  for (const call of calls) {
    const where = whereIs(call)
    await it.start()
    await add()
    const { status, stdout, executed } = await killed(scene, 'DEL', call, add)
    expect({ where, status, stdout, executed }).toEqual({ where, status: 0, stdout: '', executed: ['DEL'] })
    expect(await left(), where).toEqual(fresh)
  }
})
