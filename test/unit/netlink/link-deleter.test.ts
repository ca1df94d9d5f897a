import { expect, test } from 'vitest'
import { deleteLinks, LinkDeleter } from '../../../netlink/index.ts'
import { linkLayout } from '../../../netlink/link/layout.ts'
import { FakeKernel } from '../../support/fake-kernel.ts'

const RTM_NEWLINK = 16
const RTM_DELLINK = 17

test('many that were deleted together are told a few in each turn of the loop', async () => {
  const kernel = new FakeKernel({ [RTM_NEWLINK]: () => undefined, [RTM_DELLINK]: () => undefined })
  const links = new LinkDeleter(kernel.connect())
  let told = 0
  const most: number[] = []
  const look = (): void => {
    most.push(told)
    told = 0
    if (most.reduce((sum, one) => sum + one) < 10) setImmediate(look)
  }
  setImmediate(look)
  const all = Array.from({ length: 10 }, (_, i) => links.delete(i + 2).then(() => void told++))
  await Promise.all(all)
  expect(Math.max(...most)).toBe(4)
  // One request for the group.
  expect(kernel.requests.filter(({ type }) => type === RTM_DELLINK)).toHaveLength(1)
})

const EBUSY = 16
const ENODEV = 19

test('where the group has become empty, what could not be put into it is deleted all the same', async () => {
  const there = new Set([2, 3, 4])
  const kernel = new FakeKernel({
    [RTM_NEWLINK]: (request) => {
      const { index } = request.as(linkLayout)
      if (index === 2) return { errno: EBUSY }
      // Somebody else deletes one, and puts another one into a group of theirs.
      if (index === 3) there.delete(3)
      return undefined
    },
    [RTM_DELLINK]: (request) => ({ errno: there.delete(request.as(linkLayout).index ?? 0) ? 0 : ENODEV }),
  })
  expect(await deleteLinks(kernel.connect(), [2, 3, 4])).toEqual(new Map())
  expect([...there]).toEqual([])
})
