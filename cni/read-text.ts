import { constants, readFileSync } from 'node:fs'

const { O_RDONLY, O_NONBLOCK } = constants

/**
 * With an encoding Node opens, reads and closes in one call. It takes numbers for flags here as elsewhere, but its types
 * do not know. A FIFO in the place of a file must not stop us for ever.
 */
const read = { encoding: 'utf8', flag: (O_RDONLY | O_NONBLOCK) as unknown as string } as const

/**
 * The content of a small file, read on the spot.
 * @throws SystemError
 */
export const readText = (path: string): string => readFileSync(path, read)
