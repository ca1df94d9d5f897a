/** Frames on an interface, with their VLAN tags: the kernel takes a tag out of a frame before a packet socket gets it. */
import { spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import { onTestFinished } from 'vitest'
import { plainEnv } from '../../support/program.ts'
import type { Space } from '../../support/space.ts'

export interface Frame {
  readonly source: string
  /** EtherType, behind the tag. */
  readonly type: number
  /** The tag as it was on the wire; null: none. */
  readonly tag: { readonly protocol: number; readonly id: number } | null
}

/** packet(7): PACKET_AUXDATA gives `struct tpacket_auxdata`, whose status tells which fields are valid. */
const script = `
import json, socket, struct, sys
SOL_PACKET, PACKET_AUXDATA, VLAN_VALID = 263, 8, 0x10
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
s.bind((sys.argv[1], 0))
s.setsockopt(SOL_PACKET, PACKET_AUXDATA, 1)
print('ready', flush=True)
while True:
    data, control, _, _ = s.recvmsg(2048, 256)
    tag = None
    for level, kind, value in control:
        if (level, kind) == (SOL_PACKET, PACKET_AUXDATA):
            status, _, _, _, _, tci, tpid = struct.unpack('=IIIHHHH', value[:20])
            if status & VLAN_VALID: tag = {'protocol': tpid, 'id': tci & 0xfff}
    print(json.dumps({'source': data[6:12].hex(':'), 'type': struct.unpack('!H', data[12:14])[0], 'tag': tag}), flush=True)
`

/** Everything that passes an interface from now on until the end of the test, sent and received. */
export const capture = async (space: Space, name: string): Promise<readonly Frame[]> => {
  const [file, args] = space.command('python3', ['-c', script, name])
  const child = spawn(file, args, { stdio: ['ignore', 'pipe', 'inherit'], env: plainEnv })
  onTestFinished(() => {
    child.kill('SIGKILL')
  })
  const frames: Frame[] = []
  await new Promise<void>((resolve, reject) => {
    child.on('error', reject)
    child.on('close', () => reject(new Error('the capture has ended')))
    createInterface({ input: child.stdout }).on('line', (line) => {
      if (line === 'ready') resolve()
      else frames.push(JSON.parse(line) as Frame)
    })
  })
  return frames
}
