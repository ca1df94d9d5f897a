import { CniArgs } from '../../cni/args.ts'
import { CniError, codes } from '../../cni/error.ts'
import type { Attachment } from '../../cni/plugin.ts'
import { formatMac, parseMac } from '../../netlink/index.ts'

const refuse = (text: string, details: string): never => {
  throw new CniError({
    code: codes.invalidConfig,
    msg: `invalid MAC address ${JSON.stringify(text)}`,
    details,
  })
}

/**
 * A requested MAC in its usual form; empty where none is requested.
 * @throws CniError code 7 for what is no address an Ethernet interface can have
 */
export const requestedMac = (text: string): string => {
  if (text === '') return ''
  const bytes = parseMac(text)
  if (bytes?.length !== 6) return refuse(text, 'expected six bytes, like 02:11:22:33:44:55')
  if (bytes[0]! & 1) return refuse(text, 'it is a multicast address: the first byte has to be even')
  if (bytes.every((byte) => byte === 0)) return refuse(text, 'it is no address: all its bytes are zero')
  return formatMac(bytes)
}

interface WithMac {
  readonly mac?: string | undefined
  readonly args?: { readonly cni?: { readonly mac?: string | undefined } | undefined } | undefined
  readonly runtimeConfig?: { readonly mac?: string | undefined } | undefined
}

/**
 * The MAC that an attachment asks for, in its usual form; empty where it asks for none. Of several sources the last
 * wins: the configuration's own key, `MAC` of CNI_ARGS, `args.cni.mac`, `runtimeConfig.mac`.
 * @param lenient passes over what else is in CNI_ARGS: for plugins whose Go counterpart does not read it at all
 * @throws CniError code 4 for malformed CNI_ARGS, 7 for what is no address
 */
export const macOf = ({ conf, args }: Attachment<WithMac>, lenient = false): string => {
  // CNI_ARGS is read in any case, so that its mistakes are found.
  const { MAC } = (lenient ? new CniArgs(args.text, false) : args).pick(['MAC'])
  const sources = [conf.mac, MAC, conf.args?.cni?.mac, conf.runtimeConfig?.mac]
  return requestedMac(sources.findLast((one) => one) ?? '')
}
