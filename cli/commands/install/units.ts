/** systemd units, and systemctl. */
import { accessSync, constants, existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Wanted } from './entry.ts'
import { attempt, explain, InstallError } from './error.ts'
import { execute, PLAIN_PATH } from './execute.ts'
import type { Layout } from './layout.ts'
import { isUnit, type Source } from './source.ts'
import type { Step } from './step.ts'

/** Milliseconds; a service may take its time to be ready. */
const TIMEOUT = 120_000

/** Nothing that systemd would read otherwise: specifiers, quotes, spaces. */
const PLAIN = /^\/[\w./+@-]*$/

/** Where the units in the sources say that things are. */
const usual = { command: '/opt/linkwright/bin/linkwright', binDir: '/opt/cni/bin' } as const

/** A unit of ours with the paths of this installation. */
export const unitText = (text: string, { command, binDir }: Pick<Layout, 'command' | 'binDir'>): string =>
  text.replace(/^Exec\w+=.*$/gm, (line) =>
    line
      // Prefixes of systemd.service(5) stand before a path.
      .split(/([\s=]+[-@:+!|]*)/)
      .map((word) =>
        word === usual.command
          ? command
          : word.startsWith(`${usual.binDir}/`)
            ? `${binDir}${word.slice(usual.binDir.length)}`
            : word,
      )
      .join(''),
  )

/** @throws InstallError where there are no units, or a path that can't be written in one */
export const unitsOf = (source: Source, layout: Layout, folder: string): Wanted[] => {
  for (const path of [layout.command, layout.binDir])
    if (!PLAIN.test(path))
      throw new InstallError(`${path} can't be named in a unit`, 'choose a path of plain letters and digits')
  const units = source.files
    .filter(({ name }) => name.startsWith('systemd/') && isUnit(name.slice('systemd/'.length)))
    .map(({ path, name }) => ({
      path: join(folder, name.slice('systemd/'.length)),
      role: 'unit' as const,
      content: {
        kind: 'file' as const,
        text: unitText(
          attempt(`reading ${path}`, () => readFileSync(path, 'utf8')),
          layout,
        ),
        mode: 0o644,
      },
    }))
  if (units.length === 0)
    throw new InstallError(
      `${source.folder} has no units`,
      'install from a whole build, or without --systemd',
    )
  return units
}

/** Sockets wait for whoever calls; services that need not be called are started as well. */
export const toStart = (names: readonly string[]): string[] => {
  // The daemon keeps the leases itself where there is one.
  const own = names.filter((name) => !name.startsWith('linkwright-dhcp'))
  const chosen = own.length > 0 ? own : names.filter((name) => name.endsWith('.socket'))
  // A service that is started by its socket must find it.
  return chosen.sort((a, b) => Number(b.endsWith('.socket')) - Number(a.endsWith('.socket')))
}

/** Where systemctl is; null where it is not, or systemd does not run. sd_booted(3) */
export const findSystemctl = (booted = '/run/systemd/system'): string | null => {
  if (!existsSync(booted)) return null
  for (const folder of PLAIN_PATH.split(':')) {
    const path = join(folder, 'systemctl')
    try {
      accessSync(path, constants.X_OK)
      return path
    } catch {
      // Not here.
    }
  }
  return null
}

/** Runs systemctl. @throws InstallError */
export const systemctl = async (program: string, args: readonly string[]): Promise<void> => {
  const words = `systemctl ${args.join(' ')}`
  const ended = await execute(program, args, { env: { PATH: PLAIN_PATH }, timeout: TIMEOUT }).catch(
    (error: unknown) => {
      throw explain(error, words)
    },
  )
  if (ended.status !== 0)
    throw new InstallError(
      `${words}: ${ended.signal ?? `exit status ${ended.status}`}`,
      `${ended.stderr}${ended.stdout}`.trim().slice(0, 1000) || 'journalctl -xe may tell more',
    )
}

/** Whether all of these run and are enabled. */
export const areStarted = async (program: string, units: readonly string[]): Promise<boolean> => {
  for (const verb of ['is-enabled', 'is-active']) {
    const { status } = await execute(program, [verb, '--quiet', ...units], {
      env: { PATH: PLAIN_PATH },
      timeout: TIMEOUT,
    }).catch(() => ({ status: 1 }))
    if (status !== 0) return false
  }
  return true
}

/** One call of systemctl. @param back what takes it back */
export const systemctlStep = (
  program: string,
  args: readonly string[],
  back: readonly string[] | null,
): Step => ({
  action: 'run',
  path: program,
  text: `run systemctl ${args.join(' ')}`,
  take: async ({ undo }) => {
    // Half of it may have been done when it fails.
    if (back) undo.push(`run systemctl ${back.join(' ')}`, () => systemctl(program, back))
    await systemctl(program, args)
  },
})
