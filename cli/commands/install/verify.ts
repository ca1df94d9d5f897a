/** Whether a version works here: each of its plugins is executed and asked for its versions. */
import { join } from 'node:path'
import { isObject } from '../../../cni/fold.ts'
import { currentVersion } from '../../../cni/version.ts'
import { explain, InstallError } from './error.ts'
import { type Ended, execute, PLAIN_PATH } from './execute.ts'
import { COMMAND, pluginIn } from './layout.ts'

/** Milliseconds for one answer: a busy machine, a cold disk, 120 MB to be read. */
const TIMEOUT = 60_000
/** Programs at a time. */
const AT_ONCE = 4

/** No daemon may answer in the place of what is being tried: a socket's path is absolute, so this is none. */
const environment = { PATH: PLAIN_PATH, LINKWRIGHT_SOCKET: '-' }

/** Runs a program of the folder under a type's name. @throws InstallError where it can't be executed */
const run = async (
  folder: string,
  type: string,
  args: readonly string[],
  more: Readonly<Record<string, string>>,
  signal: AbortSignal,
  { program = pluginIn('', type), input = `{"cniVersion":"${currentVersion}"}` } = {},
): Promise<Ended> => {
  const path = join(folder, program)
  try {
    return await execute(path, args, {
      argv0: type,
      env: { ...environment, ...more },
      input,
      timeout: TIMEOUT,
      signal,
    })
  } catch (error) {
    if (signal.aborted) throw signal.reason
    throw explain(error, `${type} can't be executed (${path})`)
  }
}

/** @returns what it says. @throws InstallError where it fails */
const call = async (
  folder: string,
  type: string,
  args: readonly string[],
  more: Readonly<Record<string, string>>,
  signal: AbortSignal,
  program = pluginIn('', type),
): Promise<string> => {
  const ended = await run(folder, type, args, more, signal, { program })
  if (ended.status === 0) return ended.stdout
  const said = `${ended.stderr}${ended.stdout}`.trim().slice(0, 1000)
  throw new InstallError(
    `${type} does not work here: ${ended.signal ?? `exit status ${ended.status}`} (${join(folder, program)})`,
    said === '' ? 'it says nothing' : `it says: ${said}`,
  )
}

/**
 * The version that the programs in a folder say they are.
 * @param launcher its name in there
 * @throws InstallError
 */
export const askVersion = async (
  folder: string,
  launcher: string,
  type: string,
  signal: AbortSignal,
): Promise<string> => {
  const said = await call(folder, type, ['--version'], {}, signal, launcher)
  const version = /^CNI [a-z0-9-]+ plugin v(\d[\w.+-]{0,63})\s*$/.exec(said)?.[1]
  if (version === undefined)
    throw new InstallError(`${type} does not tell its version`, `it says: ${said.slice(0, 200)}`)
  return version
}

/** What is wrong with an answer to VERSION; null for nothing. Spec section 2, "VERSION". */
export const faultOf = (text: string): string | null => {
  let json: unknown
  try {
    json = JSON.parse(text)
  } catch {
    return `no JSON: ${JSON.stringify(text.slice(0, 200))}`
  }
  if (!isObject(json)) return 'no JSON object'
  const { cniVersion, supportedVersions } = json as Record<string, unknown>
  if (typeof cniVersion !== 'string') return 'cniVersion is no text'
  if (!Array.isArray(supportedVersions) || !supportedVersions.every((one) => typeof one === 'string'))
    return 'supportedVersions is no list of texts'
  return supportedVersions.includes(currentVersion) ? null : `${currentVersion} is not supported`
}

/** What needs no other plugin, and no privilege. */
const PROBE = 'loopback'

/**
 * VERSION needs no addon. CHECK in a namespace that nobody can make does, and changes nothing.
 * @throws InstallError where the addon can't be loaded
 */
const checkAddon = async (folder: string, signal: AbortSignal): Promise<void> => {
  const variables = {
    CNI_COMMAND: 'CHECK',
    CNI_CONTAINERID: 'verify',
    CNI_NETNS: '/proc/self/ns/none',
    CNI_IFNAME: 'lo',
    CNI_PATH: '/nonexistent',
  }
  const prevResult = { cniVersion: currentVersion }
  const input = JSON.stringify({ ...prevResult, name: 'verify', type: PROBE, prevResult })
  const { stdout, stderr } = await run(folder, PROBE, [], variables, signal, { input })
  if (/"code": *8\b[\s\S]*ENOENT"/.test(stdout)) return
  throw new InstallError(
    `${PROBE} can answer VERSION, and nothing else`,
    `it says: ${`${stderr}${stdout}`.trim().slice(0, 1000)}`,
  )
}

/**
 * Asks every plugin in a version's folder, and the command line where there is one.
 * @throws InstallError of the first that does not answer as it should
 */
export const verify = async (
  folder: string,
  types: readonly string[],
  command: string | null,
  signal: AbortSignal,
): Promise<void> => {
  if (command !== null) {
    const said = await call(folder, COMMAND, ['--version'], {}, signal, command)
    if (!said.startsWith(`${COMMAND} `))
      throw new InstallError(`${COMMAND} does not tell its version`, `it says: ${said.slice(0, 200)}`)
  }
  const waiting = [...types]
  const worker = async (): Promise<void> => {
    for (let type = waiting.shift(); type !== undefined; type = waiting.shift()) {
      const fault = faultOf(await call(folder, type, [], { CNI_COMMAND: 'VERSION' }, signal))
      if (fault !== null) throw new InstallError(`${type} answers VERSION wrongly: ${fault}`)
    }
  }
  const outcomes = await Promise.allSettled(Array.from({ length: AT_ONCE }, worker))
  const failed = outcomes.find((outcome) => outcome.status === 'rejected')
  if (failed) throw failed.reason
  if (types.includes(PROBE)) await checkAddon(folder, signal)
}
