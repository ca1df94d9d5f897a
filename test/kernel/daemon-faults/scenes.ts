/** What the daemon is disturbed at: a bridge on a host where nothing has been done yet, and portmap behind it. */
import { privateHost } from '../../support/space.ts'
import { containerScript, hostScript, portMappings } from '../faults/chain.ts'
import { conf, Patient } from '../faults/executed.ts'
import { ServedHost } from './served.ts'

export interface Scene {
  readonly it: ServedHost
  /** Everything that has to be as before when an ADD has failed. */
  state(): Promise<string[]>
  /** The same less what outlives its attachments, for after a DEL. */
  left(): Promise<string[]>
  /** After a DEL: each ADD has the same calls then. */
  reset(): Promise<void>
}

/** The state of a host whose daemon runs; the daemon may be ended afterwards. */
export type MakeScene = () => Promise<Scene>

export const bridge: MakeScene = async () => {
  const host = await privateHost()
  const container = await host.container()
  const alone = new Patient(host, container)
  return {
    it: new ServedHost(host, container, conf),
    state: () => alone.state(),
    left: () => alone.stateBesideBridge(),
    reset: () => alone.reset(),
  }
}

/** What it and all of its kind share is there already: all rules are compared, and not those alone that name it. */
export const portmap: MakeScene = async () => {
  const host = await privateHost()
  const container = await host.container()
  const bridged = new ServedHost(host, container, conf)
  for (const place of [host, container])
    await place.must('sh', ['-c', 'echo 0 >/proc/sys/net/ipv6/conf/default/accept_dad'])
  await bridged.start()
  const { result } = await bridged.call('ADD')
  await bridged.daemon.stop()
  const it = new ServedHost(host, container, {
    cniVersion: '1.0.0',
    name: 'net',
    type: 'portmap',
    snat: true,
    capabilities: { portMappings: true },
    runtimeConfig: { portMappings },
    prevResult: result,
  })
  await it.start()
  await it.call('ADD')
  await it.call('DEL')
  const state = async (): Promise<string[]> => {
    const script = `${hostScript}\nnft list ruleset`
    const [here, there] = await Promise.all([
      host.must('sh', ['-c', script]),
      container.must('sh', ['-c', containerScript]),
    ])
    return [...here.split('\n'), ...there.split('\n')]
  }
  // What lets packets for the loopback addresses in outlives the mappings that needed it.
  return { it, state, left: state, reset: async () => {} }
}
