import { describe, expect, test } from 'vitest'
import { transitions } from '../../../../../ipam/dhcp/v6/states.ts'
import { lease, OTHER_ADDRESS, OTHER_SERVER, refusal, Scene, settled } from './scene.ts'

type Step = (scene: Scene) => unknown

const start: Step = ({ client }) => client.start()
const request: Step = (scene) => scene.request()
const resume: Step = ({ client }) => client.resume(lease)
const confirm: Step = (scene) => {
  scene.client.resume(lease, true)
  scene.time.pass(500)
}
const stop: Step = ({ client }) => client.stop()
const decline: Step = ({ client }) => client.decline()
const stopWhenTold: Step = (scene) => {
  scene.onEvent = () => scene.client.stop()
}
const pass =
  (milliseconds: number): Step =>
  ({ time }) =>
    time.pass(milliseconds)
const sleep =
  (milliseconds: number): Step =>
  ({ time }) =>
    time.sleep(milliseconds)
const toT1 = pass(1_000_000)
const toT2 = pass(2_000_000)
const grant: Step = (scene) => scene.answer('REPLY')
const commit: Step = (scene) => scene.answer('REPLY', { options: { rapidCommit: true } })
const move: Step = (scene) => scene.answer('REPLY', { address: OTHER_ADDRESS })
const withdraw: Step = (scene) => scene.answer('REPLY', { preferred: 0, valid: 0 })
const refuse: Step = (scene) => scene.answer('REPLY', refusal('NotOnLink'))
const forget: Step = (scene) => scene.answer('REPLY', refusal('NoBinding'))
const twoOffers: Step = (scene) => {
  scene.answer('ADVERTISE')
  scene.answer('ADVERTISE', { server: OTHER_SERVER })
}
const found =
  (taken: boolean): Step =>
  ({ probes }) => {
    probes[0]!.resolve(taken)
    return settled()
  }

/** A way to go each of them. Where the link is asked for addresses is in {@link probing}. */
const ways: Readonly<Record<string, readonly Step[]>> = {
  'INIT SOLICITING': [start],
  'INIT CONFIRMING': [confirm],
  'INIT BOUND': [resume],
  'INIT STOPPED': [stop],
  'SOLICITING REQUESTING': [request],
  'SOLICITING CHECKING': [start, commit],
  'SOLICITING BOUND': [start, commit],
  'SOLICITING STOPPED': [start, stop],
  'REQUESTING REQUESTING': [start, twoOffers, pass(1050), refuse],
  'REQUESTING CHECKING': [request, grant],
  'REQUESTING BOUND': [request, grant],
  'REQUESTING REBINDING': [resume, toT1, forget, pass(181_000)],
  'REQUESTING DECLINING': [resume, toT1, forget, decline],
  'REQUESTING INIT': [request, refuse],
  'REQUESTING STOPPED': [request, stop],
  'CHECKING BOUND': [request, grant, found(false)],
  'CHECKING DECLINING': [request, grant, found(true)],
  'CHECKING INIT': [request, grant, pass(4_000_000)],
  'CHECKING STOPPED': [request, grant, stop],
  'BOUND RENEWING': [resume, toT1],
  'BOUND REBINDING': [resume, sleep(2_000_000)],
  'BOUND DECLINING': [resume, decline],
  'BOUND INIT': [resume, stopWhenTold, sleep(4_000_000)],
  'BOUND STOPPED': [resume, stop],
  'RENEWING BOUND': [resume, toT1, grant],
  'RENEWING CHECKING': [resume, toT1, move],
  'RENEWING REQUESTING': [resume, toT1, forget],
  'RENEWING REBINDING': [resume, toT2],
  'RENEWING DECLINING': [resume, toT1, decline],
  'RENEWING INIT': [resume, toT1, withdraw],
  'RENEWING STOPPED': [resume, toT1, stop],
  'REBINDING BOUND': [resume, toT2, grant],
  'REBINDING CHECKING': [resume, toT2, move],
  'REBINDING REQUESTING': [resume, toT2, forget],
  'REBINDING DECLINING': [resume, toT2, decline],
  'REBINDING INIT': [resume, toT2, refuse],
  'REBINDING STOPPED': [resume, toT2, stop],
  'CONFIRMING BOUND': [confirm, grant],
  'CONFIRMING DECLINING': [confirm, decline],
  'CONFIRMING INIT': [confirm, refuse, pass(1000)],
  'CONFIRMING STOPPED': [confirm, stop],
  'DECLINING BOUND': [resume, toT1, move, found(true), grant],
  'DECLINING INIT': [resume, decline, grant],
  'DECLINING STOPPED': [resume, decline, stop],
}
const probing = /CHECKING|DECLINING BOUND/

describe('the table of transitions', () => {
  test('has a way for each of them', () => {
    const allowed = Object.entries(transitions).flatMap(([from, next]) => next.map((to) => `${from} ${to}`))
    expect(Object.keys(ways).sort()).toEqual(allowed.sort())
  })

  test.each(Object.entries(ways))('%s', async (name, steps) => {
    const scene = new Scene({ probe: probing.test(name) })
    for (const step of steps) await step(scene)
    expect(scene.states.join(' ')).toContain(name)
  })

  test.each<[string, readonly Step[], Step, string]>([
    ['twice', [start], start, 'from SOLICITING to SOLICITING'],
    ['with a lease', [resume], start, 'from BOUND to SOLICITING'],
    ['with another lease', [resume], resume, 'from BOUND to BOUND'],
    ['when it has ended', [stop], start, 'from STOPPED to SOLICITING'],
  ])('what is not in it is an error: to begin %s', (_, steps, last, transition) => {
    const scene = new Scene()
    for (const step of steps) step(scene)
    expect(() => last(scene)).toThrow(`a DHCPv6 client does not go ${transition}`)
  })
})
