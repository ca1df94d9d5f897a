/** Many interfaces that want leases. One namespace stands for the containers they would be in. */
import type { LeaseCall, LeaseKeeper } from '../../ipam/dhcp/lease-keeper.ts'
import { link, Netns } from '../../netlink/index.ts'
import { pathOf } from '../contestant.ts'
import { MASTER } from './lan.ts'

const NAME = 'dhcp-crowd'

export class Crowd implements Disposable {
  readonly #names: readonly string[]

  private constructor(names: readonly string[]) {
    this.#names = names
  }

  static async of(count: number, host: Netns): Promise<Crowd> {
    using netns = Netns.createNamed(pathOf(NAME))
    // Nothing but DHCP is to be on the LAN.
    netns.writeSysctls([
      { name: 'net/ipv6/conf/default/disable_ipv6', value: '1' },
      { name: 'net/ipv4/conf/all/arp_ignore', value: '1' },
    ])
    const names = Array.from({ length: count }, (_, i) => `m${i}`)
    const connection = host.connect()
    try {
      const master = await connection.run(link.get(MASTER))
      await connection.batch(
        names.map((name) =>
          // Private: what one broadcasts is not copied to all the others.
          link.add({ kind: 'macvlan', name, link: master.index, netns, data: { mode: 'private' } }),
        ),
      )
    } catch (error) {
      Netns.deleteNamed(pathOf(NAME))
      throw error
    } finally {
      connection.close()
    }
    return new Crowd(names)
  }

  /** The call of each. @param owner whose leases they will be: others get others */
  calls(owner: string, arpProbe: boolean): LeaseCall[] {
    return this.#names.map((ifName) => ({
      containerId: `${owner}-${ifName}`,
      ifName,
      netns: pathOf(NAME),
      args: '',
      conf: {
        cniVersion: '1.0.0',
        name: 'crowd',
        type: 'macvlan',
        master: MASTER,
        ipam: { type: 'dhcp', arpProbe },
      },
    }))
  }

  [Symbol.dispose](): void {
    Netns.deleteNamed(pathOf(NAME))
  }
}

/**
 * Does something for each of them, for at most `width` at a time.
 * @returns what went wrong
 */
export const forAll = async (
  calls: readonly LeaseCall[],
  width: number,
  work: (call: LeaseCall) => Promise<unknown>,
): Promise<Error[]> => {
  const failures: Error[] = []
  const rest = calls.values()
  const one = async (): Promise<void> => {
    for (const call of rest)
      try {
        await work(call)
      } catch (error) {
        failures.push(error as Error)
      }
  }
  await Promise.all(Array.from({ length: width }, one))
  return failures
}

/** Lets `keeper` get a lease for each. @returns what went wrong */
export const obtain = (keeper: LeaseKeeper, calls: readonly LeaseCall[], width: number): Promise<Error[]> =>
  forAll(calls, width, (call) => keeper.allocate(call))
