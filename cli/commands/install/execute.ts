import { type ChildEnd, type ChildOptions, runChild } from '../../../cni/child.ts'

/** Bytes of output that are kept. */
const MAX_OUTPUT = 1 << 16

/** How a program ended. */
export type Ended = ChildEnd

/** Programs that an installer runs see nothing else of its environment. */
export const PLAIN_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'

/**
 * Runs a program to its end; one that has to be ended is not asked.
 * @throws as {@link runChild}
 */
export const execute = (
  file: string,
  args: readonly string[],
  options: Omit<ChildOptions, 'maxOutput' | 'grace'>,
): Promise<Ended> => runChild(file, args, { ...options, maxOutput: MAX_OUTPUT, grace: 0 })
