/** `linkwright doctor`: what would keep an attachment from being made, and what others have left. */
import { isatty } from 'node:tty'
import { defaultCacheDir } from '../../../cni/cache.ts'
import { isSocketPath, MAX_SOCKET_PATH } from '../../../ipam/connect.ts'
import { defineCommand, type Output, UsageError } from '../../command.ts'
import { examine } from './examine.ts'
import { printFindings, printReport, summaryOf } from './report.ts'

const DEFAULT_SOCKET = '/run/linkwright/linkwright.sock'

/** As the launcher reads it: what is no path of a socket is as if there were none. */
const socketOf = (given: string | undefined): string => {
  const isPath = (path: string): boolean => path.startsWith('/') && isSocketPath(path)
  if (given !== undefined) {
    if (!isPath(given))
      throw new UsageError(`--socket ${given}: expected an absolute path of at most ${MAX_SOCKET_PATH} bytes`)
    return given
  }
  const { LINKWRIGHT_SOCKET: variable = '' } = process.env
  return isPath(variable) ? variable : DEFAULT_SOCKET
}

const colourOf = (json: boolean): boolean =>
  !json && isatty(1) && (process.env.NO_COLOR ?? '') === '' && process.env.TERM !== 'dumb'

export const doctor = defineCommand({
  name: 'doctor',
  summary: 'look for what would keep an attachment from being made',
  positionals: '',
  description: `Looks at the kernel, its settings, configurations, executables, the daemon, leases, and what attachments have
left behind; tells of each finding what to do about it, and changes nothing (modules of the kernel are loaded as by an
attachment). Without root it tells what it could not see.

Exit status 1: something would make an ADD fail. Warnings are no failures.`,
  options: {
    'bin-dir': {
      type: 'string',
      value: 'DIRS',
      help: 'where runtimes look for plugins (default: $CNI_PATH, or /opt/cni/bin)',
    },
    'conf-dir': {
      type: 'string',
      value: 'DIR',
      help: 'where runtimes look for networks (default: $NETCONFPATH, or /etc/cni/net.d)',
    },
    'data-dir': {
      type: 'string',
      value: 'DIR',
      help: 'reservations of host-local (default: /var/lib/cni/networks)',
    },
    'cache-dir': {
      type: 'string',
      value: 'DIR',
      help: `what libcni keeps of attachments (default: ${defaultCacheDir})`,
    },
    prefix: {
      type: 'string',
      value: 'DIR',
      help: 'where linkwright is installed (default: /opt/linkwright)',
    },
    socket: {
      type: 'string',
      value: 'PATH',
      help: `the daemon's socket (default: $LINKWRIGHT_SOCKET, or ${DEFAULT_SOCKET})`,
    },
    network: {
      type: 'string',
      multiple: true,
      value: 'NAME',
      help: 'only this network of the directory; may be repeated (default: all)',
    },
    json: { type: 'boolean', help: 'print findings with their ids and facts, for programs' },
  },
  async run(values, _positionals, output: Output) {
    const findings = await examine({
      binDirs: (values['bin-dir'] ?? (process.env.CNI_PATH || '/opt/cni/bin'))
        .split(':')
        .filter((directory) => directory !== ''),
      confDir: values['conf-dir'] ?? (process.env.NETCONFPATH || '/etc/cni/net.d'),
      dataDir: values['data-dir'] ?? '/var/lib/cni/networks',
      cacheDir: values['cache-dir'] ?? defaultCacheDir,
      prefix: values.prefix ?? '/opt/linkwright',
      socket: socketOf(values.socket),
      networks: values.network ?? [],
    })
    const json = values.json ?? false
    output.out(json ? printFindings(findings) : printReport(findings, colourOf(json)))
    return summaryOf(findings).failure > 0 ? 1 : 0
  },
})
