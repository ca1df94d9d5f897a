/** The two methods of Go's daemon, with errors as Go's plugin words them. */
import { CniError, codes } from '../../../cni/error.ts'
import type { Result } from '../../../cni/types.ts'
import type { LeaseCall } from '../lease-keeper.ts'
import { type CmdArgs, empty, fromGoResult, goResult, NO_MORE_TRIES } from './go-messages.ts'
import { type GoClient, type GoMethod, GoRpcError, goCall } from './go-rpc.ts'
import { GobError } from './gob.ts'

const argsOf = ({ containerId, ifName, netns, args, conf }: LeaseCall): CmdArgs => ({
  ContainerID: containerId,
  Netns: netns,
  IfName: ifName,
  Args: args,
  Path: '',
  NetnsOverride: '',
  StdinData: new TextEncoder().encode(JSON.stringify(conf)),
})

const inGoWords = async <T>(method: GoMethod, work: () => Promise<T>): Promise<T> => {
  try {
    return await work()
  } catch (error) {
    const fail = (code: number) =>
      new CniError({ code, msg: `error calling ${method}: ${(error as Error).message}`, cause: error })
    if (error instanceof GoRpcError)
      throw fail(error.message === NO_MORE_TRIES ? codes.tryAgainLater : codes.internal)
    throw error instanceof GobError ? fail(codes.decoding) : error
  }
}

/** @throws CniError code 11 for `no more tries`, 999 for other errors of the daemon; ConnectionLost */
export const goAllocate = (client: GoClient, call: LeaseCall): Promise<Result> =>
  inGoWords('DHCP.Allocate', async () =>
    fromGoResult(await goCall(client, 'DHCP.Allocate', argsOf(call), goResult)),
  )

/** A lease that the daemon does not know is no error. @throws CniError code 999; ConnectionLost */
export const goRelease = (client: GoClient, call: LeaseCall): Promise<void> =>
  inGoWords('DHCP.Release', async () => {
    await goCall(client, 'DHCP.Release', argsOf(call), empty)
  })
