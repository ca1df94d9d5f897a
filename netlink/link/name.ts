import type { Codec } from '../codec/types.ts'
import { string } from '../codec/types.ts'

/** IFNAMSIZ without the final NUL, linux/if.h. */
const MAX_NAME = 15
/** ALTIFNAMSIZ without the final NUL. */
const MAX_ALT_NAME = 127
const PERCENT = 0x25

/** isspace() of the kernel is that of Latin-1: it takes byte 0xa0 for a space, wherever UTF-8 puts it. */
const isForbidden = (byte: number): boolean =>
  byte === 0 || byte === 0x20 || byte === 0xa0 || (byte >= 9 && byte <= 13) || byte === 0x2f || byte === 0x3a

/** Whether it is what almost all names are: short, in ASCII, with nothing forbidden, no `%`, and no `.` or `..`. */
const isPlain = (name: string): boolean => {
  if (name.length === 0 || name.length > MAX_NAME || name.charCodeAt(0) === 0x2e) return false
  for (let i = 0; i < name.length; i++) {
    const code = name.charCodeAt(i)
    if (code > 0x7f || code === PERCENT || isForbidden(code)) return false
  }
  return true
}

const fault = (name: string): string | undefined => {
  if (isPlain(name)) return undefined
  const bytes = Buffer.byteLength(name)
  if (bytes === 0) return 'is empty'
  if (bytes > MAX_NAME) return `is ${bytes} bytes long, the limit is ${MAX_NAME}`
  if (name === '.' || name === '..') return 'is reserved'
  if (name.includes('%')) return "contains '%': the kernel would make another name of it"
  return Buffer.from(name).some(isForbidden)
    ? "contains '/', ':', white space (byte 0xa0 is some, too) or a NUL"
    : undefined
}

/** Whether {@link checkName} takes it. */
export const isLinkName = (name: string): boolean => fault(name) === undefined

/**
 * Gives back a name that an interface can have, by the rules of the kernel's `dev_valid_name`: 1 to 15 bytes, not `.` or
 * `..`, no `/`, `:` or white space. Nor a `%`: to a request that makes or renames a link `eth%d` stands for the first
 * name of that kind which is free, so that no link ever has one, and whoever asks for one is not told which it got.
 * @throws RangeError for any other
 */
export const checkName = (name: string): string => {
  const wrong = fault(name)
  if (wrong) throw new RangeError(`interface name ${JSON.stringify(name)} ${wrong}`)
  return name
}

/**
 * The same for an alternative name (`ip link property add altname`): 1 to 127 bytes, of which the kernel takes any.
 * @throws RangeError
 */
export const checkAltName = (name: string): string => {
  const bytes = Buffer.byteLength(name)
  if (bytes === 0 || bytes > MAX_ALT_NAME || name.includes('\0'))
    throw new RangeError(
      `alternative interface name ${JSON.stringify(name)} does not have 1 to ${MAX_ALT_NAME} bytes`,
    )
  return name
}

/** IFLA_IFNAME and the like: checked when written. */
export const interfaceName: Codec<string> = {
  write: (writer, value) => string.write(writer, checkName(value)),
  read: string.read,
}
