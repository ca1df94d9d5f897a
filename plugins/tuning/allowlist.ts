/** The node's list of sysctls that configurations may set: regular expressions, one a line. */
import { CniError, codes, invalidConfig } from '../../cni/error.ts'
import { ioError, isGone, readText } from '../../ipam/files.ts'
import { goRegExp } from './go-regexp.ts'

/** Of the Go plugin, too. */
export const defaultAllowlist = '/etc/cni/tuning/allowlist.conf'

/** The lines that say something; null where there is no list, which allows everything. @throws CniError code 5 */
export const readAllowlist = (path: string): readonly string[] | null => {
  let content: string
  try {
    content = readText(path)
  } catch (error) {
    if (isGone(error)) return null
    throw ioError(error, path, 'while it can not be read, no sysctl is allowed')
  }
  return content
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '')
}

/** @throws CniError code 7 for a line that is no regular expression */
const compile = (line: string, path: string): RegExp => {
  try {
    return goRegExp(line)
  } catch (error) {
    throw new CniError({
      code: codes.invalidConfig,
      msg: `${path}: error parsing regexp ${JSON.stringify(line)}: ${(error as Error).message}`,
      details: 'each line is a regular expression as Go has it, which any part of a sysctl may match',
      cause: error,
    })
  }
}

/** Whether every line is one. @throws CniError code 7 */
export const checkAllowlist = (lines: readonly string[], path: string): void => {
  for (const line of lines) compile(line, path)
}

/**
 * Every sysctl is on the list, as the configuration writes it. Lines are tried in order, and those behind the first that
 * matches do not matter.
 * @param lines null: everything is allowed
 * @throws CniError code 7
 */
export const checkAllowed = (
  keys: readonly string[],
  lines: readonly string[] | null,
  path: string,
): void => {
  if (!lines) return
  for (const key of keys)
    if (!lines.some((line) => compile(line, path).test(key)))
      throw invalidConfig(
        `Sysctl ${key} is not allowed. Only the following sysctls are allowed: [${lines.join(' ')}]`,
        `the node's list is ${path}`,
      )
}
