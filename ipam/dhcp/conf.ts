import * as z from 'zod/mini'
import { commonConf, expects, flag, integer, rule, text, uint32 } from '../../cni/schema.ts'
import { domainName } from './domain-names.ts'
import { parseClientId } from './v4/client-id.ts'
import { optionCode } from './v4/options.ts'

/** Where the lease keeper listens, as the Go daemon does. */
export const DEFAULT_SOCKET = '/run/cni/dhcp.sock'

/** Bytes of an option's value that fit into one piece. */
const MAX_VALUE = 255
/** PAD and END are no options, and every message has its type. */
const noOptions = [0, 53, 255]
/** What the client says itself: address, overload, server, list of requests, size. */
const own = [...noOptions, 50, 52, 54, 55, 57]

const optionBut = (excluded: readonly number[]) =>
  text.check(
    rule(
      (name) => {
        const code = optionCode(name)
        return code !== null && !excluded.includes(code)
      },
      (name) => `Can not parse option ${JSON.stringify(name)}: no such option, or not one to be set`,
    ),
  )

/** Seconds that an ADD waits for a lease at most: runtimes give up after some minutes. */
const MAX_TIMEOUT = 200

/** Keys of `ipam` that DHCP knows. */
const ipam = z.object({
  type: z.optional(text),
  /** Socket of the lease keeper. Its leases are noted in the folder beside it that ends in `.leases`. */
  daemonSocketPath: z._default(text, ''),
  /** Options that are sent, with a value, or with that of a key of CNI_ARGS. */
  provide: z._default(
    z.array(
      z.object({
        option: optionBut(own),
        value: z._default(
          text.check(
            rule(
              (value) => Buffer.byteLength(value) <= MAX_VALUE,
              () => `value too long for option: at most ${MAX_VALUE} bytes`,
            ),
          ),
          '',
        ),
        fromArg: z._default(text, ''),
      }),
    ),
    [],
  ),
  /** Options that are asked for besides the usual ones. One `skipDefault` leaves those out. */
  request: z._default(z.array(z.object({ option: z.optional(optionBut(noOptions)), skipDefault: flag })), []),
  /** Metric of all routes of the lease. 0: the kernel's. */
  priority: z._default(uint32, 0),
  /** Client identifier: a text, `hex:01:02…`, `mac` or `duid`. Default: `<container id>/<network>/<interface>`. */
  clientId: z._default(
    text.check(
      expects(
        (value) => value === '' || parseClientId(value) !== null,
        'text, "mac", "duid" or "hex:" and pairs of hex digits, of 2 to 255 bytes with its type',
      ),
    ),
    '',
  ),
  /** Host name that is sent to the server. `pod`: the pod's, of Kubernetes' CNI_ARGS. Default: none. */
  hostname: z._default(
    text.check(expects((value) => value === '' || domainName(value) !== undefined, 'host name')),
    '',
  ),
  /** Asks servers to broadcast their answers. Default: for ipvlan interfaces only. */
  broadcast: z.optional(z.boolean()),
  /** Seconds until an ADD gives up. Default: the keeper's, 30. */
  timeout: z.optional(integer(1, MAX_TIMEOUT)),
  /** Asks the link whether anybody has an address before it is used. */
  arpProbe: z._default(z.boolean(), true),
  /** Without a keeper ADD gets a lease itself, which nobody renews. */
  standalone: flag,
  /** 4 or 6; or both in `versions`. */
  version: z.optional(z.literal([4, 6])),
  versions: z.optional(
    z.array(z.literal([4, 6])).check(expects((list) => list.length > 0, 'list of at least one of 4, 6')),
  ),
  /** DHCPv6: waits for a router that says that addresses are managed (M flag). */
  waitForRouter: z._default(z.boolean(), true),
  /** DHCPv6: lets a server answer at once. */
  rapidCommit: z._default(z.boolean(), true),
})

/** Every key of the dhcp plugin. */
export const dhcpConf = z.object({ ...commonConf, ipam: z.prefault(ipam, {}) })
export type DhcpConf = z.infer<typeof dhcpConf>

export const socketOf = ({ ipam: { daemonSocketPath } }: DhcpConf): string =>
  daemonSocketPath || DEFAULT_SOCKET

/** Where the leases of a keeper are noted that listens on a socket. */
export const leasesOf = (socketPath: string): string => `${socketPath.replace(/\.sock$/, '')}.leases`

/** Which protocols, each once. */
export const versionsOf = ({ ipam: { version, versions } }: DhcpConf): readonly (4 | 6)[] =>
  [...new Set(versions ?? [version ?? 4])].sort() as (4 | 6)[]
