import { expect, test } from 'vitest'
import { LinkDeleter } from '../../../netlink/index.ts'
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
