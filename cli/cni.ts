import { plugins } from '../plugins/index.ts'
import { runExecutable } from './executable.ts'

runExecutable(plugins, {
  'dhcp daemon': async (args) => await (await import('./dhcp-daemon.ts')).runDhcpDaemon(args),
  'dhcp leases': async (args) => await (await import('./dhcp-leases.ts')).runDhcpLeases(args),
})
