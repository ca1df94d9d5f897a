import { CniError, codes } from '../../cni/error.ts'
import type { Attachment } from '../../cni/plugin.ts'
import { type Address, formatAddress, parseRequested } from '../address.ts'
import type { HostLocalConf } from './conf.ts'

/** An address that the attachment has to get. */
export interface Requested extends Address {
  readonly text: string
}

/**
 * What is asked for in CNI_ARGS, `args.cni.ips` and `runtimeConfig.ips`, in this order, each address once.
 * @throws CniError code 4 for CNI_ARGS that can't be read
 */
export const requestedAddresses = ({
  args,
  conf,
}: Pick<Attachment<HostLocalConf>, 'args' | 'conf'>): Requested[] => {
  const found = new Map<string, Requested>()
  const add = (address: Address): void => {
    const text = formatAddress(address.family, address.value)
    found.set(text, { ...address, text })
  }
  const { IP = '' } = args.pick(['IP'])
  if (IP !== '') {
    const address = parseRequested(IP)
    if (!address)
      throw new CniError({
        code: codes.invalidEnvironment,
        msg: `ARGS: error parsing value of pair ${JSON.stringify(`IP=${IP}`)}: invalid IP address ${IP}`,
        details: 'IP in CNI_ARGS is an address, with or without a prefix length',
      })
    add(address)
  }
  for (const text of [...(conf.args?.cni?.ips ?? []), ...(conf.runtimeConfig?.ips ?? [])])
    add(parseRequested(text)!)
  return [...found.values()]
}
