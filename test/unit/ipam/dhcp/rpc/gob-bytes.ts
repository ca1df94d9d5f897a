/** What Go 1.26 sends, made by programs with types of these shapes; and how to read bytes in tests. */

import { ByteQueue } from '../../../../../ipam/dhcp/rpc/byte-queue.ts'
import { GobDecoder, GobStruct, type GobValue } from '../../../../../ipam/dhcp/rpc/gob.ts'

/** Bytes of hex digits, where quoted text stands for itself: `0d"DHCP.Release" 00`. */
export const bytesOf = (text: string): Uint8Array =>
  Buffer.concat(
    text
      .split(/("[^"]*")/)
      .map((part) =>
        part.startsWith('"') ? Buffer.from(part.slice(1, -1)) : Buffer.from(part.replace(/\s/g, ''), 'hex'),
      ),
  )

export const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex')

export const queueOf = (bytes: Uint8Array): ByteQueue => {
  const queue = new ByteQueue()
  queue.push(bytes.slice())
  return queue
}

/** All values of a stream that is complete. */
export const decodeAll = (bytes: Uint8Array, decoder = new GobDecoder()): GobValue[] => {
  const queue = queueOf(bytes)
  const values: GobValue[] = []
  for (let value = decoder.take(queue); value !== undefined; value = decoder.take(queue)) values.push(value)
  return values
}

/** Structs as plain objects, to compare. */
export const plain = (value: GobValue): unknown => {
  if (value instanceof GobStruct)
    return Object.fromEntries([...value.fields].map(([name, field]) => [name, plain(field)]))
  if (value instanceof Uint8Array) return hex(value)
  if (value instanceof Map) return new Map([...value].map(([key, item]) => [plain(key), plain(item)]))
  return Array.isArray(value) ? value.map(plain) : value
}

/** The client's first write: definitions of Request and CmdArgs, and a call of Allocate. */
export const firstWrite = bytesOf(`
  2f ff81 03 01 01 07"Request" 01 ff82 00 01 02 01 0d"ServiceMethod" 01 0c 00 01 03"Seq" 01 06 00 00 00
  12 ff82 01 0d"DHCP.Allocate" 00
  6c ff83 03 01 01 07"CmdArgs" 01 ff84 00 01 07 01 0b"ContainerID" 01 0c 00 01 05"Netns" 01 0c 00
     01 06"IfName" 01 0c 00 01 04"Args" 01 0c 00 01 04"Path" 01 0c 00 01 0d"NetnsOverride" 01 0c 00
     01 09"StdinData" 01 0a 00 00 00
  31 ff84 01 02"c1" 01 10"/var/run/netns/x" 01 04"eth0" 02 0c"/opt/cni/bin" 02 02"{}" 00`)

/** Call 1 of a connection, of Release, without its arguments. */
export const laterRequest = bytesOf('13 ff82 01 0c"DHCP.Release" 01 01 00')

/** `struct{}`, with its definition and after it. */
export const emptyDefinition = bytesOf('0a ff9b 03 01 02 ff9c 00 00 00')
export const emptyValue = bytesOf('03 ff9c 00')

/** Reply to call 2. */
export const errorReply = bytesOf('19 ff86 01 0c"DHCP.Release" 01 02 01 04"boom" 00')

/** A result of Allocate. */
export const resultValue = bytesOf(`
  4e ff88 03 01 02 01 04 c0a80105 01 04 ffffff00 00 01 04 c0a80101 00
     01 02 01 01 04 00000000 01 04 00000000 00 01 04 c0a80101 00
           01 01 04 0a000000 01 04 ff000000 00 01 04 00000000 03 0e 02 fe01fa 00
     01 00 00`)

/** Programs of Go: every kind of type there is, and what they sent. */
export const fromGo = {
  /**
   * `struct{ Bool bool; Int int64; Neg int8; Uint uint64; Float float64; Text string; Bytes []byte; Array [3]int;
   * Slice []Inner; Map map[string]*Inner; Pointer *int; Missing *Inner; When self; Nums map[int]bool }`, where Inner is
   * `struct{ A int; B []string }` and self encodes itself as `hi`.
   */
  wide: 'ff9c7f030101045769646501ff8000010e0104426f6f6c0102000103496e7401040001034e6567010400010455696e740106000105466c6f6174010800010454657874010c0001054279746573010a000105417272617901ff82000105536c69636501ff880001034d617001ff8a000107506f696e74657201040001074d697373696e6701ff840001045768656e01ff8c0001044e756d7301ff8e00000016ff81010101065b335d696e7401ff82000104010600001bff870201010c5b5d6d61696e2e496e6e657201ff880001ff84000020ff8303010105496e6e657201ff8400010201014101040001014201ff8600000016ff85020101085b5d737472696e6701ff8600010c000027ff89040101166d61705b737472696e675d2a6d61696e2e496e6e657201ff8a00010c01ff84000010ff8b0501010473656c6601ff8c0000001cff8d0401010c6d61705b696e745d626f6f6c01ff8e000104010200004fff80010101f87fffffffffffffff01ffff01f8ffffffffffffffff01fe194001066772c3bcc39f010200ff010302030601020102010201780000000101016b01fe025800010e020268690101010100',
  /** `struct{ Name string; Next *Node }`, three of them. */
  node: '25ff8f030101044e6f646501ff9000010201044e616d65010c0001044e65787401ff9000000010ff900101610101016201010163000000',
  int: '03040009',
  string: '080c000568656c6c6f',
  slice: '0cff91020102ff92000104000006ff9200020204',
  map: '0eff93040102ff9400010c0104000007ff940001016102',
  /** `struct{ V interface{} }`, with something in it, and with nil. */
  any: '17ff9503010103416e7901ff9600010101015601100000002eff96010a6d61696e2e496e6e6572ff8303010105496e6e657201ff8400010201014101040001014201ff8600000016ff85020101085b5d737472696e6701ff8600010c000007ff840301020000',
  nil: '17ff9503010103416e7901ff96000101010156011000000003ff9600',
  complex: '16ff9703010102437801ff98000101010143010e00000008ff9801fef03f4000',
  ints: '0cff9b020102ff9c000104000045ff9c00110002017e7fff80ff81fffefe0100fe01fefe0200fb0100000000fcfffffffff940000000000000f93ffffffffffffff8fffffffffffffffef8ffffffffffffffff',
  uints:
    '0cff9d020102ff9e00010600002dff9e000b00017fff80fffffe0100fefffffd010000fb0100000000f88000000000000000f8ffffffffffffffff',
  floats:
    '0cff9f020102ffa0000108000029ffa0000700fef03ffef0bffe3140f89a9999999999b93ff89c7500883ce4377ef859f3f8c21f6ea581',
} as const
