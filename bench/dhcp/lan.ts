/** A LAN with a DHCP server on it, and what keeps leases on this side. */
import { mkdirSync, rmSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { RemoteKeeper } from '../../ipam/dhcp/rpc/remote.ts'
import { address, link, Netns } from '../../netlink/index.ts'
import { pathOf } from '../contestant.ts'
import { Service } from '../service.ts'

/** The interface of the host that is plugged into the LAN. */
export const MASTER = 'lan'
const SERVER_SIDE = 'lan0'
const NAME = 'dhcp-lan'
/** Sockets, and what is noted of leases. */
export const FOLDER = '/run/dhcp-bench'
const LEASES = `${FOLDER}/leases`

/** A namespace with a cable to the host. Its dnsmasq leases 4000 addresses, for longer than the bench takes. */
export class Lan {
  #server: Service | undefined

  static async open(host: Netns): Promise<Lan> {
    mkdirSync(FOLDER, { recursive: true })
    using netns = Netns.createNamed(pathOf(NAME))
    const [ours, theirs] = [host.connect(), netns.connect()]
    try {
      await ours.run(
        link.add({
          kind: 'veth',
          name: MASTER,
          up: true,
          data: { peer: { name: SERVER_SIDE, netns } },
        }),
      )
      await theirs.run(link.set(SERVER_SIDE, { up: true }))
      const { index } = await theirs.run(link.get(SERVER_SIDE))
      await theirs.run(address.add({ index, address: '10.40.0.1/20' }))
    } finally {
      ours.close()
      theirs.close()
    }
    return new Lan()
  }

  /** Starts the server anew: it knows nothing of earlier leases. */
  async serve(): Promise<void> {
    await this.#server?.stop()
    rmSync(LEASES, { force: true })
    const args = [
      ...['--keep-in-foreground', '--conf-file=/dev/null', '--no-resolv', '--no-hosts', '--port=0'],
      ...['--user=root', '--group=', '--pid-file=', `--dhcp-leasefile=${LEASES}`, '--log-facility=-'],
      ...[
        `--interface=${SERVER_SIDE}`,
        '--quiet-dhcp',
        '--dhcp-range=10.40.0.16,10.40.15.254,255.255.240.0,6h',
      ],
      // It would ping each address for three seconds. The limit of leases is 1000 by default.
      ...['--no-ping', '--dhcp-lease-max=4096'],
    ]
    const netns = `--net=${pathOf(NAME)}`
    this.#server = await Service.start('nsenter', [netns, '--', 'dnsmasq', ...args], (printed) =>
      /dnsmasq\[\d+\]: started/.test(printed),
    )
  }

  /** Its cable goes with it. */
  async close(): Promise<void> {
    await this.#server?.stop()
    Netns.deleteNamed(pathOf(NAME))
  }
}

/** A `dhcp daemon`, ours or Go's. */
export class LeaseDaemon {
  readonly service: Service
  /** For the plugins' `daemonSocketPath`. */
  readonly socket: string
  readonly keeper: RemoteKeeper

  private constructor(service: Service, socket: string) {
    this.service = service
    this.socket = socket
    this.keeper = new RemoteKeeper(socket)
  }

  /** @param binDir the folder of its plugins */
  static async start(name: string, binDir: string): Promise<LeaseDaemon> {
    const socket = `${FOLDER}/${name}/dhcp.sock`
    // An earlier one has left its leases there.
    rmSync(dirname(socket), { recursive: true, force: true })
    mkdirSync(dirname(socket))
    const asked = new RemoteKeeper(socket)
    const service = await Service.start(join(binDir, 'dhcp'), ['daemon', '-socketpath', socket], () =>
      asked.status().then(
        () => true,
        () => false,
      ),
    )
    return new LeaseDaemon(service, socket)
  }
}
