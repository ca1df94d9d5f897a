/** Attachments whose addresses are leased: our plugins, by the daemon, standalone and in process, against Go's. */

import { mkdirSync, rmSync } from 'node:fs'
import { type OpenHost, openHost } from '../../cni/index.ts'
import type { JsonObject } from '../../cni/types.ts'
import { Journal } from '../../ipam/dhcp/journal.ts'
import { Keeper } from '../../ipam/dhcp/keeper.ts'
import { createDhcp } from '../../ipam/index.ts'
import { Netns } from '../../netlink/netns.ts'
import { plugins } from '../../plugins/index.ts'
import { type Contestant, executing, Ours, pathOf, rounds, verbs } from '../contestant.ts'
import { serve } from '../daemon/server.ts'
import { type Execution, Launcher } from '../launcher.ts'
import type { Findings, Row } from '../row.ts'
import type { Setting } from '../setting.ts'
import { Samples } from '../stats.ts'
import { FOLDER, type Lan, LeaseDaemon, MASTER } from './lan.ts'

/** Of the daemon that serves launchers, too. */
const RESIDENT = `${FOLDER}/resident`
/** What the design allows a standalone ADD. */
const TARGET = 3
/** Attachments by the daemon and in process before they are measured. */
const WARM_UP = 100

const silence = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} }

const confOf = (ipam: JsonObject): JsonObject => ({
  cniVersion: '1.0.0',
  name: 'leased',
  type: 'macvlan',
  master: MASTER,
  ipam: { type: 'dhcp', ...ipam },
})

/** A host whose leases are kept in this process. */
const keeping = (): { readonly host: OpenHost; readonly keeper: Keeper } => {
  const journal = new Journal(`${FOLDER}/in-process.leases`)
  const keeper = new Keeper({ journal, log: silence, software: 'bench' })
  const dhcp = createDhcp({ keeper })
  return { host: openHost({ plugins: new Map([...plugins, [dhcp.type, dhcp]]), sync: true }), keeper }
}

interface Named {
  readonly key: string
  readonly contestant: Contestant
}

/** @param peers folder of Go's plugins */
export const attachmentRows = async (setting: Setting, lan: Lan, peers: string): Promise<Findings> => {
  const samples = new Samples()
  const netns: string[] = []
  const daemons: LeaseDaemon[] = []
  const launcher = new Launcher(setting)
  const { host, keeper } = keeping()
  const container = (key: string): string => {
    const name = `dhcp-${key.replace(' ', '-')}`
    Netns.createNamed(pathOf(name)).close()
    netns.push(name)
    return name
  }
  // An earlier one has left its leases there.
  rmSync(RESIDENT, { recursive: true, force: true })
  mkdirSync(RESIDENT, { recursive: true })
  const resident = await serve(setting, 'dhcp', `${RESIDENT}/dhcp.sock`)
  const start = async (name: string, binDir: string): Promise<string> => {
    const daemon = await LeaseDaemon.start(name, binDir)
    daemons.push(daemon)
    return daemon.socket
  }
  try {
    await lan.serve()
    const sockets = { ours: await start('ours', setting.ours), peer: await start('peer', peers) }
    const execute = (key: string, binDir: string, ipam: JsonObject, env?: Execution['env']): Named => ({
      key,
      contestant: executing(launcher, { binDir, conf: confOf(ipam), name: container(key), env }),
    })
    const call = (key: string, arpProbe: boolean): Named => ({
      key,
      contestant: new Ours(container(key), host, confOf({ arpProbe })),
    })
    const silent = call('call silent', false)
    const leasing = { daemonSocketPath: `${RESIDENT}/dhcp.sock`, arpProbe: false }
    const served = execute('served silent', setting.ours, leasing, resident.env)
    const contestants: readonly Named[] = [
      execute('ours', setting.ours, { daemonSocketPath: sockets.ours }),
      execute('ours silent', setting.ours, { daemonSocketPath: sockets.ours, arpProbe: false }),
      execute('peer', peers, { daemonSocketPath: sockets.peer }),
      call('call', true),
      silent,
      served,
    ]
    setting.progress('dhcp, attachments')
    for (let i = 0; i < (setting.quick ? WARM_UP / 10 : WARM_UP); i++)
      for (const { contestant } of [silent, served]) for (const verb of verbs) await contestant.run(verb)
    for (const { contestant } of contestants) for (const verb of verbs) await contestant.run(verb)
    await rounds(contestants, setting.quick ? 6 : 40, async ({ key, contestant }) => {
      for (const verb of verbs) samples.add(`${verb} ${key}`, await contestant.run(verb))
    })
  } finally {
    for (const { service } of [...daemons, resident]) await service.stop()
    await launcher.close()
    await keeper.stop()
    host.close()
    for (const name of netns) Netns.deleteNamed(pathOf(name))
  }
  const row = (name: string, key: string, verb: 'ADD' | 'DEL', target?: number): Row => ({
    group: 'dhcp',
    case: `${verb} macvlan with dhcp, ${name}`,
    ours: samples.of(`${verb} ${key}`),
    peer: 'Go, executed',
    theirs: samples.of(`${verb} peer`),
    target,
  })
  return {
    rows: [
      row('standalone, ours with an ARP probe of 0.2 s', 'ours', 'ADD'),
      row('in process, ours with an ARP probe of 0.2 s', 'call', 'ADD'),
      row('through launcher and daemon, arpProbe false', 'served silent', 'ADD'),
      row('standalone, arpProbe false', 'ours silent', 'ADD', TARGET),
      row('in process, arpProbe false', 'call silent', 'ADD'),
      row('through launcher and daemon', 'served silent', 'DEL'),
      row('standalone', 'ours silent', 'DEL'),
      row('in process', 'call silent', 'DEL'),
    ],
    notes: [
      'dhcp: the Go daemon never asks the link whether an address is in use, which ours does by default',
    ],
  }
}
