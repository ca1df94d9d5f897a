/** STATUS: whether an ADD could work now. */
import { accessSync, constants, statSync } from 'node:fs'
import { dirname } from 'node:path'
import { CniError, codes } from '../../cni/error.ts'
import type { Context } from '../../cni/plugin.ts'
import { ioError } from '../../ipam/files.ts'
import { checkAllowed, checkAllowlist, readAllowlist } from './allowlist.ts'
import { type TuningConf, wantedOf } from './conf.ts'
import { asksForAny } from './link-settings.ts'

/** Files that an ADD reads and writes. */
export interface Files {
  readonly allowlist: string
  readonly dataDir: string
}

/** @throws CniError code 50 */
const notAvailable = (error: unknown): never => {
  const { msg, details } = CniError.from(error)
  throw new CniError({ code: codes.notAvailable, msg, details, cause: error })
}

/** The folder, or the one that it would be made in, takes files. @throws CniError code 5 */
const checkFolder = (folder: string): void => {
  let path = folder
  while (!statSync(path, { throwIfNoEntry: false }) && dirname(path) !== path) path = dirname(path)
  try {
    if (!statSync(path).isDirectory())
      throw new CniError({
        code: codes.io,
        msg: `mkdir ${folder}: not a directory`,
        details: `look at ${path}`,
      })
    accessSync(path, constants.W_OK | constants.X_OK)
  } catch (error) {
    throw ioError(error, path, 'original values are kept there until DEL: see "dataDir"')
  }
}

/** @throws CniError code 7 for what can not be asked for, 50 for what is in the way on this node */
export const checkReady = (context: Context<TuningConf>, { allowlist, dataDir }: Files): void => {
  // There is no interface here to fill in.
  const wanted = wantedOf({ conf: context.conf, args: context.args, ifName: 'IFNAME' })
  try {
    const lines = readAllowlist(allowlist)
    checkAllowlist(lines ?? [], allowlist)
    checkAllowed(
      wanted.sysctls.map(({ key }) => key),
      lines,
      allowlist,
    )
    if (asksForAny(wanted.link) || wanted.sysctls.length > 0) checkFolder(dataDir)
  } catch (error) {
    notAvailable(error)
  }
}
