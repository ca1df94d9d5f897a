/** ADD and DEL as a program calls them, against the same datagrams sent by a C program. */
import { openHost } from '../cni/index.ts'
import type { JsonObject } from '../cni/types.ts'
import { link } from '../netlink/index.ts'
import { Netns } from '../netlink/netns.ts'
import { plugins } from '../plugins/index.ts'
import { type Contestant, containers, Ours, pathOf, type Verb } from './contestant.ts'
import { Helper } from './helper.ts'
import { Recorder, type Recording, type Step } from './recording.ts'
import type { Findings, Row } from './row.ts'
import { script } from './script.ts'
import { classic, type Setting } from './setting.ts'
import { Samples } from './stats.ts'

const TARGET = 1.5
/** Attachments after which the engine has compiled what is called: it goes on for about a thousand. */
const WARM_UP = 1200
/** Of them, how many stand at a time. */
const BURST = 50
/** Deleting fifty links of a group takes the kernel as long as two alone. */
const GROUP = 0x77

/** The replay. */
class Floor implements Contestant {
  readonly name = 'floor'
  readonly #helper: Helper
  /** Milliseconds of the last run's steps. */
  steps: readonly number[] = []

  constructor(helper: Helper) {
    this.#helper = helper
  }

  async run(verb: Verb): Promise<number> {
    const [total, ...steps] = (await this.#helper.ask(`run ${verb}`))
      .split(' ')
      .map((text) => Number(text) / 1e6)
    this.steps = steps
    return total!
  }
}

/**
 * Attaches and detaches many containers, quickly.
 * @returns what the first {@link BURST} attachments took, in milliseconds each
 */
const warmUp = async (conf: JsonObject, count: number): Promise<Samples> => {
  const first = new Samples()
  using asyncHost = openHost({ plugins })
  using syncHost = openHost({ plugins, sync: true })
  const hosts = [syncHost, asyncHost]
  const names = Array.from({ length: BURST }, (_, i) => `warm${i}`)
  for (const name of names) Netns.createNamed(pathOf(name)).close()
  try {
    for (let i = 0; i < count / BURST; i++) {
      const host = hosts[i % hosts.length]!
      const all = names.map((name) => new Ours(name, host, conf))
      const links: string[] = []
      for (const ours of all) {
        const took = await ours.run('ADD')
        if (i === 0) first.add('ADD', took)
        links.push(ours.hostLink)
      }
      const { rtnetlink } = host.connections!
      await rtnetlink.batch(links.map((name) => link.set(name, { group: GROUP })))
      await rtnetlink.run(link.delete({ group: GROUP }))
      for (const ours of all) await ours.run('DEL')
    }
  } finally {
    for (const name of names) Netns.deleteNamed(pathOf(name))
  }
  return first
}

/** Each in its turn, one pair after the other; who begins changes, so that everybody comes after everybody. */
const race = async (contestants: readonly Contestant[], pairs: number): Promise<Samples> => {
  const samples = new Samples()
  for (let i = 0; i < pairs; i++)
    for (let j = 0; j < contestants.length; j++) {
      const contestant = contestants[(i + j) % contestants.length]!
      for (const verb of ['ADD', 'DEL'] as const)
        samples.add(`${contestant.name} ${verb}`, await contestant.run(verb))
    }
  return samples
}

type Recordings = Readonly<Record<Verb, Recording>>

const record = async (recorder: Recorder, ours: Ours): Promise<Recordings> => {
  recorder.take()
  await ours.run('ADD')
  const ADD = recorder.take()
  await ours.run('DEL')
  return { ADD, DEL: recorder.take() }
}

const groupOf = (step: Step): string => {
  if (step.kind === 'exchange') return 'exchanges'
  return step.kind === 'sysctl' ? 'sysctls' : 'opening and closing'
}

const sumBy = (steps: readonly Step[], times: readonly number[]): Map<string, number> => {
  const sums = new Map<string, number>()
  for (const [i, step] of steps.entries())
    sums.set(groupOf(step), (sums.get(groupOf(step)) ?? 0) + (times[i] ?? 0))
  return sums
}

const ms = (time: number): string => time.toFixed(2)

/** Where the time goes, ours beside the floor's, by pairs that are not counted in the table. */
const breakdown = async (
  recorder: Recorder,
  ours: Ours,
  floor: Floor,
  recorded: Recordings,
  pairs: number,
): Promise<string[]> => {
  const samples = new Samples()
  for (let i = 0; i < pairs; i++)
    for (const verb of ['ADD', 'DEL'] as const) {
      const theirs = await floor.run(verb)
      for (const [group, time] of sumBy(recorded[verb].steps, floor.steps))
        samples.add(`${verb} floor ${group}`, time)
      recorder.take()
      const total = await ours.run(verb)
      const { steps, times } = recorder.take()
      let rest = total
      for (const [group, time] of sumBy(steps, times)) {
        samples.add(`${verb} ours ${group}`, time)
        rest -= time
      }
      samples.add(`${verb} ours rest`, rest)
      samples.add(`${verb} total`, total - theirs)
    }
  return (['ADD', 'DEL'] as const).map((verb) => {
    const parts = ['exchanges', 'sysctls', 'opening and closing'].flatMap((group) => {
      const name = `${verb} ours ${group}`
      if (!samples.has(name)) return []
      const theirs = samples.has(`${verb} floor ${group}`) ? samples.of(`${verb} floor ${group}`).median : 0
      return [`${group} ${ms(samples.of(name).median)} (${ms(theirs)})`]
    })
    const count = recorded[verb].steps.filter(({ kind }) => kind === 'exchange').length
    const rest = ms(samples.of(`${verb} ours rest`).median)
    return `${verb}, ${count} datagrams: ${parts.join(', ')}, JavaScript, reservations and locks ${rest}`
  })
}

/** What is open before the operation, so that it can be opened before the replay. */
const opening = (steps: readonly Step[]): Step[] => {
  const closed = new Set(steps.flatMap((step) => (step.kind === 'close' ? [step.slot] : [])))
  return steps.filter((step) => (step.kind === 'socket' || step.kind === 'option') && !closed.has(step.slot))
}

const measure = async (setting: Setting, ipMasq: boolean): Promise<Findings> => {
  const name = ipMasq ? 'bridge with ipMasq' : 'bridge'
  const conf = classic({
    name: ipMasq ? 'masq' : 'plain',
    bridge: ipMasq ? 'cni0' : 'cni1',
    subnet: ipMasq ? '10.22.0.0/16' : '10.23.0.0/16',
    ipMasq,
  })
  const names = ['standing', 'floor', 'async', 'sync'].map((one) => `${one}${ipMasq ? 1 : 2}`)
  const [standing, floorNetns, asynchronous, synchronous] = names as [string, string, string, string]
  const helper = new Helper(setting.floor)
  for (const one of names) Netns.createNamed(pathOf(one)).close()
  const first = await warmUp(conf, setting.quick ? WARM_UP / 4 : WARM_UP)
  const recorder = new Recorder((path) => path.startsWith(`${containers}/`))
  using asyncHost = openHost({ plugins })
  using syncHost = openHost({ plugins, sync: true })
  try {
    // A host has other containers: the bridge is up, the tables are there.
    await new Ours(standing, syncHost, conf).run('ADD')
    const sync = new Ours(synchronous, syncHost, conf)
    const start = recorder.take()
    const { ADD, DEL } = await record(recorder, sync)
    const recorded = await record(recorder, sync)
    const slots = new Map<number, number>()
    const container = pathOf(floorNetns)
    helper.tell([
      ...script('OPEN', opening([...start.steps, ...ADD.steps, ...DEL.steps]), container, slots),
      ...(['ADD', 'DEL'] as const).flatMap((verb) => script(verb, recorded[verb].steps, container, slots)),
    ])
    await helper.ask('run OPEN')
    const floor = new Floor(helper)
    const notes = await breakdown(recorder, sync, floor, recorded, setting.quick ? 10 : 40)
    recorder.close()
    const contestants = [floor, new Ours(asynchronous, asyncHost, conf), sync]
    await race(contestants, 10)
    const samples = await race(contestants, setting.quick ? 30 : 150)
    const rows = (['ADD', 'DEL'] as const).flatMap((verb) =>
      [
        { how: 'promises', ours: asynchronous },
        { how: 'calling thread', ours: synchronous },
      ].map(
        ({ how, ours }): Row => ({
          group: 'in-process',
          case: `${verb} ${name}, ${how}`,
          ours: samples.of(`${ours} ${verb}`),
          peer: 'C replay',
          theirs: samples.of(`floor ${verb}`),
          target: verb === 'ADD' ? TARGET : undefined,
        }),
      ),
    )
    const early = ms(first.of('ADD').median)
    return {
      rows,
      notes: [
        `${name}: measured after ${WARM_UP} attachments; the first ${BURST} of a process take ${early} ms each (median)`,
        ...notes.map((note) => `${name}, calling thread (C): ${note}; ms`),
      ],
    }
  } finally {
    recorder.close()
    await helper.close()
    for (const one of names) Netns.deleteNamed(pathOf(one))
  }
}

export const inProcess = async (setting: Setting): Promise<Findings> => {
  const all: Findings[] = []
  for (const ipMasq of [true, false]) {
    setting.progress(`in process, ${ipMasq ? 'with' : 'without'} ipMasq`)
    all.push(await measure(setting, ipMasq))
  }
  return { rows: all.flatMap(({ rows }) => rows), notes: all.flatMap(({ notes }) => notes) }
}
