/** A keeper's methods as both protocols call them. */
import { CniError, codes } from '../../../cni/error.ts'
import { isObject } from '../../../cni/fold.ts'
import type { JsonObject } from '../../../cni/types.ts'
import type { LeaseCall, LeaseKeeper } from '../lease-keeper.ts'
import { readGcParams, readLeaseCall } from './fields.ts'
import { type CmdArgs, empty, goResult, NO_MORE_TRIES, toGoResult } from './go-messages.ts'
import type { GoHandler, GoMethod } from './go-rpc.ts'
import { item } from './gob.ts'
import type { OwnHandler } from './own-rpc.ts'

/** Everything, by the names of {@link LeaseKeeper}. */
export const ownMethods = (keeper: LeaseKeeper): ReadonlyMap<string, OwnHandler> =>
  new Map<string, OwnHandler>([
    ['allocate', async (params, signal) => keeper.allocate(readLeaseCall(params), signal)],
    ['check', async (params) => keeper.check(readLeaseCall(params))],
    ['release', async (params) => keeper.release(readLeaseCall(params))],
    [
      'gc',
      async (params) => {
        const { network, valid } = readGcParams(params)
        await keeper.gc(network, valid)
      },
    ],
    ['status', async () => keeper.status()],
    ['list', async () => keeper.list()],
  ])

const parseConf = (stdin: Uint8Array): JsonObject => {
  let conf: unknown
  try {
    conf = JSON.parse(new TextDecoder().decode(stdin))
  } catch (error) {
    throw new CniError({
      code: codes.decoding,
      msg: `error parsing netconf: ${(error as Error).message}`,
      cause: error,
    })
  }
  if (!isObject(conf)) throw new CniError({ code: codes.decoding, msg: 'error parsing netconf: no object' })
  return conf as JsonObject
}

const leaseCallOf = ({ ContainerID, Netns, IfName, Args, StdinData }: CmdArgs): LeaseCall => ({
  containerId: ContainerID,
  ifName: IfName,
  netns: Netns,
  args: Args,
  conf: parseConf(StdinData),
})

/** Go's clients see an error's text alone. */
const inGoWords =
  (handler: GoHandler): GoHandler =>
  async (args, signal) => {
    try {
      return await handler(args, signal)
    } catch (error) {
      const { code, msg } = CniError.from(error)
      throw new Error(code === codes.tryAgainLater ? NO_MORE_TRIES : msg, { cause: error })
    }
  }

/** What Go's plugin asks. */
export const goMethods = (keeper: LeaseKeeper): ReadonlyMap<GoMethod, GoHandler> =>
  new Map<GoMethod, GoHandler>([
    [
      'DHCP.Allocate',
      inGoWords(async (args, signal) =>
        item(goResult, toGoResult(await keeper.allocate(leaseCallOf(args), signal))),
      ),
    ],
    [
      'DHCP.Release',
      inGoWords(async (args) => {
        await keeper.release(leaseCallOf(args))
        return item(empty, {})
      }),
    ],
  ])
