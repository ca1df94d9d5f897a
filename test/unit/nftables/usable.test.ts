import { describe, expect, test } from 'vitest'
import type { Netns } from '../../../netlink/netns.ts'
import { unusable, usable } from '../../../netlink/nftables/index.ts'
import { xtablesUnusable } from '../../../netlink/nftables/xtables-usable.ts'
import { type FakeAnswer, FakeKernel } from '../../support/fake-kernel.ts'

const EPERM = 1
const ENOENT = 2
const ENOMEM = 12
const EINVAL = 22
const EOPNOTSUPP = 95
const EAFNOSUPPORT = 97

/** NFNL_SUBSYS_NFTABLES and the message, linux/netfilter/nf_tables.h. */
const message = (type: number): number => (10 << 8) | type
const [NEWTABLE, NEWCHAIN, GETCHAIN, NEWRULE, DELRULE] = [0, 3, 4, 6, 8].map(message)
const [BATCH_BEGIN, BATCH_END] = [0x10, 0x11]

/** A namespace of a kernel that lists chains, and looks at the operations of a batch. The last has to fail. */
const kernel = ({ list = {}, chain = {} }: { list?: FakeAnswer; chain?: FakeAnswer }): Netns => {
  const fake = new FakeKernel({
    [BATCH_BEGIN!]: () => undefined,
    [BATCH_END!]: () => undefined,
    [GETCHAIN!]: () => list,
    [NEWTABLE!]: () => undefined,
    [NEWCHAIN!]: () => chain,
    [NEWRULE!]: () => undefined,
    [DELRULE!]: () => ({ errno: ENOENT }),
  })
  return { connect: () => fake.connect() } as unknown as Netns
}

/** A namespace where no socket can be opened. */
const without = (code: string): Netns =>
  ({
    connect() {
      throw Object.assign(new Error(`socket: ${code}`), { code })
    },
  }) as unknown as Netns

const questions: [what: string, ask: (netns: Netns) => Promise<Error | undefined>][] = [
  ['masquerade', unusable],
  ['matches of xtables', xtablesUnusable],
]

describe.each(questions)('whether there is nf_tables with %s', (_, ask) => {
  test('yes', async () => {
    expect(await ask(kernel({}))).toBeUndefined()
  })

  test.each(['EPROTONOSUPPORT', 'EAFNOSUPPORT'])('no: the socket is refused with %s', async (code) => {
    expect(await ask(without(code))).toMatchObject({ code })
  })
  test.each([ENOENT, EOPNOTSUPP, EINVAL, EAFNOSUPPORT])(
    'no: an operation is refused with %d',
    async (errno) => {
      expect(await ask(kernel({ chain: { errno } }))).toMatchObject({ errno })
    },
  )

  test.each(['EMFILE', 'ENFILE', 'EPERM', 'ENOBUFS'])('nobody knows: no socket, %s', async (code) => {
    await expect(ask(without(code))).rejects.toMatchObject({ code })
  })
  test.each([EPERM, ENOMEM])('nobody knows: an operation is refused with %d', async (errno) => {
    await expect(ask(kernel({ chain: { errno } }))).rejects.toMatchObject({ errno })
  })
})

test('a kernel that knows no list has none; one that has no memory does not say', async () => {
  expect(await unusable(kernel({ list: { errno: EINVAL } }))).toMatchObject({ errno: EINVAL })
  expect(await usable(kernel({ list: { errno: EINVAL } }))).toBe(false)
  await expect(usable(kernel({ list: { errno: ENOMEM } }))).rejects.toMatchObject({ errno: ENOMEM })
})
