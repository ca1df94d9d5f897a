/** Wireshark as an independent eye. */
import { must } from '../program.ts'
import type { Frame } from './frame.ts'

/** The frames as a pcap file with nanoseconds: its header, then a header of 16 bytes before each frame. */
const pcap = (frames: readonly Frame[]): Buffer => {
  const LINKTYPE_ETHERNET = 1
  const header = Buffer.alloc(24)
  header.writeUInt32LE(0xa1b23c4d, 0)
  header.writeUInt16LE(2, 4)
  header.writeUInt16LE(4, 6)
  header.writeUInt32LE(262_144, 16)
  header.writeUInt32LE(LINKTYPE_ETHERNET, 20)
  const records = frames.flatMap(({ at, data }) => {
    const record = Buffer.alloc(16)
    record.writeUInt32LE(Math.floor(at / 1000), 0)
    record.writeUInt32LE(Math.floor((at % 1000) * 1e6), 4)
    record.writeUInt32LE(data.length, 8)
    record.writeUInt32LE(data.length, 12)
    return [record, data]
  })
  return Buffer.concat([header, ...records])
}

export interface TsharkOptions {
  /** Wireshark's display filter, e.g. `dhcp`. Default: all frames. */
  readonly filter?: string | undefined
  /** Wireshark's preferences, e.g. `udp.check_checksum:TRUE`. */
  readonly preferences?: readonly string[] | undefined
}

/**
 * What tshark reads in `frames`: for each that its filter lets through, the values of `fields` (Wireshark's names, e.g.
 * `dhcp.option.dhcp`) as text, several where a field comes more than once, none where it is not there.
 */
export const tshark = async <F extends string>(
  frames: readonly Frame[],
  fields: readonly F[],
  { filter, preferences = [] }: TsharkOptions = {},
): Promise<Record<F, string[]>[]> => {
  // tshark reads from a FIFO or a file; what Node gives a program is a socket.
  const text = await must(
    'sh',
    [
      ...['-c', 'cat | tshark "$@"', 'sh'],
      ...['-n', '-r', '-', '-T', 'json', ...(filter === undefined ? [] : ['-Y', filter])],
      ...preferences.flatMap((preference) => ['-o', preference]),
      ...fields.flatMap((field) => ['-e', field]),
    ],
    { input: pcap(frames) },
  )
  const all = JSON.parse(text) as { _source: { layers?: Record<string, string[]> } }[]
  return all.map(
    ({ _source: { layers = {} } }) =>
      Object.fromEntries(fields.map((field) => [field, layers[field] ?? []])) as Record<F, string[]>,
  )
}

/**
 * What tshark holds against `frames`: malformed packets, wrong checksums and its experts' warnings. Give it frames as
 * they arrived: in those that a socket of this machine sent, the checksum is left to the hardware that a veth has not.
 */
export const complaints = async (frames: readonly Frame[]): Promise<string[]> => {
  const preferences = ['ip.check_checksum:TRUE', 'udp.check_checksum:TRUE']
  const read = await tshark(frames, ['_ws.expert.message', '_ws.expert.severity'], { preferences })
  // Severities below a note (0x400000) are remarks on what is right.
  return read.flatMap((one) =>
    one['_ws.expert.message'].filter((_, i) => Number(one['_ws.expert.severity'][i]) >= 0x400000),
  )
}
