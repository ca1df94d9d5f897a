/** `linkwright install` and `linkwright uninstall`. */
import { resolve } from 'node:path'
import { CniError } from '../../../cni/error.ts'
import { type Command, defineCommand, type Output, UsageError } from '../../command.ts'
import { stoppable } from '../../stoppable.ts'
import { InstallError } from './error.ts'
import { install as installAll } from './install.ts'
import { layoutOf, TYPE } from './layout.ts'
import { findSource } from './source.ts'
import type { Note, Step } from './step.ts'
import { uninstall as uninstallAll } from './uninstall.ts'
import { findSystemctl } from './units.ts'

const common = {
  'bin-dir': {
    type: 'string',
    value: 'DIR',
    help: 'where runtimes look for plugins (default: /opt/cni/bin)',
  },
  prefix: {
    type: 'string',
    value: 'DIR',
    help: 'everything else goes below it (default: /opt/linkwright)',
  },
  copy: {
    type: 'boolean',
    help: 'no prefix: everything goes below the folder of the plugins, and links are relative',
  },
  'whole-node': {
    type: 'boolean',
    help: 'the processes seen here are all of the node, though not of the machine (a node in a container, as kind has them): old versions that none of them uses go at once',
  },
  'dry-run': { type: 'boolean', short: 'n', help: 'tell what would be done, and change nothing' },
  json: { type: 'boolean', help: 'print what was done as JSON' },
} as const

interface CommonValues {
  readonly 'bin-dir'?: string
  readonly prefix?: string
  readonly copy?: boolean
  readonly 'whole-node'?: boolean
  readonly 'dry-run'?: boolean
  readonly json?: boolean
}

/** An option's folder. @throws UsageError for an empty one */
const folderOf = (value: string | undefined, option: string, usual: string): string => {
  if (value === '' || value?.includes('\0')) throw new UsageError(`--${option}: no folder`)
  return resolve(value ?? usual)
}

const layoutFrom = (values: CommonValues) => {
  if (values.copy && values.prefix !== undefined)
    throw new UsageError('--copy and --prefix exclude each other: there is nothing outside of --bin-dir')
  return layoutOf({
    binDir: folderOf(values['bin-dir'], 'bin-dir', '/opt/cni/bin'),
    prefix: folderOf(values.prefix, 'prefix', '/opt/linkwright'),
    copy: values.copy ?? false,
    wholeNode: values['whole-node'],
  })
}

const checkRoot = (dryRun: boolean): void => {
  if (!dryRun && process.geteuid!() !== 0)
    throw new InstallError('this needs root', 'run it with sudo, or see what it would do with --dry-run')
}

const typesOf = (value: string | undefined): string[] | undefined => {
  const types = value?.split(',').map((type) => type.trim())
  const wrong = types?.find((type) => !TYPE.test(type))
  if (wrong !== undefined) throw new UsageError(`--types: ${JSON.stringify(wrong)} is no plugin's type`)
  return types
}

const jsonOf = (steps: readonly Step[], notes: readonly Note[]) => ({
  steps: steps.map(({ action, path, text }) => ({ action, path, text })),
  notes: notes.map(({ path, text }) => ({ path, text })),
})

const printJson = (output: Output, json: unknown): void => output.out(`${JSON.stringify(json, null, 2)}\n`)

const printFailure = (output: Output, { message, details }: InstallError): void =>
  output.err(`linkwright: ${message}${details ? `\n  ${details.replaceAll('\n', '\n  ')}` : ''}\n`)

/** Runs `work`; what it throws is told. */
const report = async (
  values: CommonValues,
  output: Output,
  work: (signal: AbortSignal) => Promise<number>,
): Promise<number> => {
  try {
    checkRoot(values['dry-run'] ?? false)
    return await stoppable(work)
  } catch (error) {
    // Stopped by a signal.
    const failure = error instanceof CniError ? new InstallError(error.msg, error.details, error) : error
    if (!(failure instanceof InstallError)) throw error
    if (values.json) printJson(output, { error: { message: failure.message, details: failure.details } })
    printFailure(output, failure)
    return 1
  }
}

export const install = defineCommand({
  name: 'install',
  summary: 'put the plugins where container runtimes look for them',
  positionals: '',
  description: `Copies the launcher and the standalone program to PREFIX/lib/linkwright, asks each plugin there for its
versions, and links them into the folder of the plugins. Every name changes in one step, so it can be done
while containers come and go; what was there before is kept, and put back by linkwright uninstall. Done
once more it changes nothing, or makes good what is missing. When something fails, nothing has changed.`,
  options: {
    ...common,
    types: { type: 'string', value: 'TYPE,…', help: 'only these plugins (default: all)' },
    from: {
      type: 'string',
      value: 'DIR',
      help: 'the folder with linkwright-launcher and linkwright-cni (default: where this command is from)',
    },
    conf: {
      type: 'string',
      value: 'FILE',
      help: 'check this .conflist, and put it into the folder of configurations when all else is done',
    },
    'conf-dir': {
      type: 'string',
      value: 'DIR',
      help: 'where runtimes look for configurations (default: /etc/cni/net.d)',
    },
    systemd: { type: 'boolean', help: 'put the systemd units of the daemon into place' },
    'systemd-dir': { type: 'string', value: 'DIR', help: 'where they go (default: /etc/systemd/system)' },
    start: { type: 'boolean', help: 'enable and start them, too' },
  },
  run: (values, _positionals, output) => {
    const { systemd = false, start = false, json, conf, 'dry-run': dryRun = false } = values
    if (start && !systemd) throw new UsageError('--start needs --systemd')
    if (values['systemd-dir'] !== undefined && !systemd) throw new UsageError('--systemd-dir needs --systemd')
    if (values['conf-dir'] !== undefined && conf === undefined)
      throw new UsageError('--conf-dir needs --conf: nothing else is written there')
    const layout = layoutFrom(values)
    const types = typesOf(values.types)
    const confDir = folderOf(values['conf-dir'], 'conf-dir', '/etc/cni/net.d')
    const systemdDir = folderOf(values['systemd-dir'], 'systemd-dir', '/etc/systemd/system')
    const from = values.from === undefined ? null : folderOf(values.from, 'from', '')
    return report(values, output, async (signal) => {
      const { plugins } = await import('../../../plugins/index.ts')
      const outcome = await installAll({
        layout,
        from: from ?? findSource(process.execPath),
        types,
        conf: conf === undefined ? undefined : { file: resolve(conf), folder: confDir },
        systemd: systemd ? { folder: systemdDir, start } : undefined,
        systemctl: findSystemctl(),
        plugins,
        signal,
        dryRun,
      })
      const steps = [...outcome.steps, ...outcome.cleaning]
      const changed = steps.length > 0
      if (json)
        printJson(output, {
          version: outcome.name,
          types: outcome.types,
          dryRun,
          changed,
          ...jsonOf(steps, outcome.notes),
        })
      else {
        for (const { text } of steps) output.out(`${text}\n`)
        for (const { text } of outcome.notes) output.out(`note: ${text}\n`)
        const what = `${outcome.name}: ${outcome.types.length} plugins in ${layout.binDir}`
        output.out(`${what}${changed ? (dryRun ? ', if it were done' : '') : '; nothing is to do'}\n`)
      }
      return 0
    })
  },
})

export const uninstall = defineCommand({
  name: 'uninstall',
  summary: 'take back what linkwright install has done',
  positionals: '',
  description: `Removes what is still as linkwright install made it, and puts back what was there before. What somebody has
put there since stays, and is told. Containers keep their interfaces: delete them first, or let the plugins
that come back do it.`,
  options: common,
  run: (values, _positionals, output) => {
    const layout = layoutFrom(values)
    const dryRun = values['dry-run'] ?? false
    return report(values, output, async (signal) => {
      const { steps, notes, failures } = await uninstallAll({
        layout,
        systemctl: findSystemctl(),
        signal,
        dryRun,
      })
      const errors = failures.map(({ message, details }) => ({ message, details }))
      if (values.json)
        printJson(output, { dryRun, changed: steps.length > 0, ...jsonOf(steps, notes), errors })
      else {
        for (const { text } of steps) output.out(`${text}\n`)
        for (const { text } of notes) output.out(`note: ${text}\n`)
        if (steps.length + notes.length + failures.length === 0)
          output.out(`nothing is installed below ${layout.prefix}\n`)
      }
      for (const failure of failures) printFailure(output, failure)
      return failures.length > 0 ? 1 : 0
    })
  },
})

/** Both, for the list of commands. */
export const installCommands: Readonly<Record<string, Command>> = {
  install: install as Command,
  uninstall: uninstall as Command,
}
