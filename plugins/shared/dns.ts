import type { Dns } from '../../cni/types.ts'

/** The configuration's dns where it names anything (even an empty list), else what IPAM said. */
export const chooseDns = (configured: Dns | undefined, fromIpam: Dns | undefined): Dns | undefined =>
  configured &&
  (configured.nameservers || configured.search || configured.options || (configured.domain ?? '') !== '')
    ? configured
    : fromIpam
