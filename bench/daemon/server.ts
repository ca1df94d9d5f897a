/** Our daemon, as it is started on a host, and what makes a launcher find it. */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { Service } from '../service.ts'
import type { Setting } from '../setting.ts'

export interface Server {
  readonly service: Service
  /** For those who execute launchers. */
  readonly env: Readonly<Record<string, string>>
}

/**
 * @param name tells it from others
 * @param dhcpSocket where it keeps leases for the plugins' `daemonSocketPath`; null: it keeps none
 */
export const serve = async (
  { program, scratch }: Setting,
  name: string,
  dhcpSocket: string | null = null,
): Promise<Server> => {
  const socket = join(scratch, `${name}.sock`)
  const dhcp = dhcpSocket === null ? ['--no-dhcp'] : ['--dhcp-socket', dhcpSocket]
  const service = await Service.start(program.linkwright, ['daemon', ...dhcp, '--socket', socket], () =>
    existsSync(socket),
  )
  return { service, env: { LINKWRIGHT_SOCKET: socket } }
}
