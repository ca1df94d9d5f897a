/** The rules of an isolated bridge, while its last container goes and another one comes. */
import { expect, onTestFinished, test, vi } from 'vitest'
import { Connection } from '../../../netlink/connection.ts'
import { eventually } from '../../support/wait.ts'
import { type Attached, attach, firewallConf, rulesOf } from './firewall.ts'
import { type Node, node } from './node.ts'

const policy = { ingressPolicy: 'same-bridge' }
const conf = firewallConf(policy)
const exclusive = Connection.prototype.exclusive

const come = (it: Node, name: string, number: number): Promise<Attached> =>
  attach(it, name, { [`10.22.0.${number}/16`]: '10.22.0.1' }, { conf: policy })

/** Of a transaction of the filter table, what it does to bridges or to permits. */
const doing = (what: string): 'removes isolation' | 'permits' | 'other' => {
  if (!what.startsWith('change the filter table')) return 'other'
  if (/delete rule .*ISOLATION/.test(what)) return 'removes isolation'
  return /add rule .*CNI-FORWARD/.test(what) ? 'permits' : 'other'
}

/** Runs `instead` in the place of each transaction, until it is told to stop or the test ends. */
const interrupt = (
  instead: (kind: ReturnType<typeof doing>, go: () => Promise<unknown>) => Promise<unknown>,
): (() => void) => {
  const spy = vi.spyOn(Connection.prototype, 'exclusive').mockImplementation(function (
    this: Connection,
    what,
    ...rest
  ) {
    return instead(doing(what()), () => exclusive.call(this, what, ...rest))
  })
  const stop = () => void spy.mockRestore()
  onTestFinished(stop)
  return stop
}

/** The last one has gone, and its rules. */
const isOver = async (it: Node, { call }: Attached): Promise<void> => {
  await it.del(conf, call)
  await it.del({ type: 'bridge', bridge: 'cni0' }, call)
  expect(await rulesOf(it.host, 'CNI-ISOLATION-STAGE-2')).toHaveLength(1)
}

test('one that has come is never without them', async () => {
  const it = await node()
  const first = await come(it, 'one', 5)
  let second: Attached | undefined
  let begun = false
  const stop = interrupt(async (kind, go) => {
    if (kind === 'removes isolation' && !begun) {
      begun = true
      second = await come(it, 'two', 6)
    }
    const done = await go()
    if (second && kind !== 'other') await it.check(conf, second.call)
    return done
  })
  await it.del(conf, first.call)
  stop()
  await it.del({ type: 'bridge', bridge: 'cni0' }, first.call)
  await it.check(conf, second!.call)
  await isOver(it, second!)
})

test('one that comes makes them again where they went after it had seen them', async () => {
  const it = await node()
  const first = await come(it, 'one', 5)
  let second: Promise<Attached> | undefined
  let seen = false
  let proceed: () => void = () => {}
  const gone = new Promise<void>((resolve) => {
    proceed = resolve
  })
  const stop = interrupt(async (kind, go) => {
    if (kind === 'removes isolation' && !second) {
      second = come(it, 'two', 6)
      await eventually('it has seen the rules', () => seen)
      const done = await go()
      proceed()
      // As long as this one is held up it repairs nothing.
      await it.check(conf, (await second).call)
      return done
    }
    if (kind === 'permits' && second && !seen) {
      seen = true
      await gone
    }
    return await go()
  })
  await it.del(conf, first.call)
  stop()
  await it.del({ type: 'bridge', bridge: 'cni0' }, first.call)
  await isOver(it, await second!)
})
