import { CniError, codes } from '../../cni/error.ts'
import { formatMac, parseMac } from '../../netlink/index.ts'

/**
 * A requested MAC in its usual form; empty where none is requested.
 * @throws CniError code 7 for what is no address of an Ethernet interface
 */
export const requestedMac = (text: string): string => {
  if (text === '') return ''
  const bytes = parseMac(text)
  if (bytes?.length !== 6)
    throw new CniError({
      code: codes.invalidConfig,
      msg: `invalid MAC address ${JSON.stringify(text)}`,
      details: 'expected six bytes, like 02:11:22:33:44:55',
    })
  return formatMac(bytes)
}
