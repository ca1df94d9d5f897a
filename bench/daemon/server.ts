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

/** Starts it without DHCP. Its name tells it from others. */
export const serve = async ({ ours, scratch }: Setting, name: string): Promise<Server> => {
  const socket = join(scratch, `${name}.sock`)
  const program = join(ours, '../../cli/linkwright.cjs')
  const args = ['daemon', '--no-dhcp', '--socket', socket]
  const service = await Service.start(program, args, () => existsSync(socket))
  return { service, env: { LINKWRIGHT_SOCKET: socket } }
}
