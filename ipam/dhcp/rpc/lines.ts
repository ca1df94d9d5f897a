/**
 * Our own protocol: JSON, a message a line, of at most {@link MAX_LINE} bytes. Ids are the client's, whole numbers.
 *
 *     → {"id":1,"method":"allocate","params":{…}}
 *     ← {"id":1,"result":…}  or  {"id":1,"error":{"code":…,"msg":…,"details":…}}
 *
 * Methods and their parameters are those of LeaseKeeper: `allocate`, `check` and `release` take a LeaseCall, `gc`
 * `{network, valid}`, `status` and `list` nothing. Replies come in the order in which calls end. A long list comes in
 * pieces: `{"id":1,"part":[…]}` before its result. `{"id":1,"method":"cancel"}` has no reply of its own: it makes call 1
 * give up, as the end of the connection does with all of them.
 */
import type { CniError } from '../../../cni/error.ts'
import type { Json, JsonObject } from '../../../cni/types.ts'
import { type Incoming, ProtocolError } from './incoming.ts'

/** Bytes, the newline not counted. */
export const MAX_LINE = 1 << 20
const LF = 0x0a

/** Reads a connection line by line. */
export class Lines {
  readonly #incoming: Incoming
  /** How much of what is there has been searched for the end of a line. */
  #searched = 0

  constructor(incoming: Incoming) {
    this.#incoming = incoming
  }

  /**
   * The next message.
   * @returns undefined where the stream ends before it
   * @throws ProtocolError for a line that is too long, or is no JSON; ConnectionLost
   */
  async next(): Promise<Json | undefined> {
    const { queue } = this.#incoming
    for (;;) {
      const bytes = queue.peek()
      const end = bytes.indexOf(LF, this.#searched)
      if (end > MAX_LINE || (end < 0 && bytes.length > MAX_LINE))
        throw new ProtocolError(`a line has at most ${MAX_LINE} bytes`)
      if (end >= 0) {
        this.#searched = 0
        return parse(queue.take(end + 1))
      }
      this.#searched = bytes.length
      if (!(await this.#incoming.more())) return undefined
    }
  }
}

const parse = (line: Uint8Array): Json => {
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(line)) as Json
  } catch (error) {
    throw new ProtocolError(`a line that is no JSON: ${(error as Error).message}`)
  }
}

/** A message as a line. @returns null where it is too long */
export const lineOf = (message: JsonObject): Buffer | null => {
  const line = Buffer.from(`${JSON.stringify(message)}\n`)
  return line.length - 1 > MAX_LINE ? null : line
}

/** An error as it is sent. */
export const errorOf = ({ code, msg, details }: CniError): JsonObject => ({ code, msg, details })
