import { expect, test } from 'vitest'
import type { Ipam } from '../../../cni/ipam.ts'
import { Failures } from '../../../plugins/shared/failures.ts'
import { removeAndRelease } from '../../../plugins/shared/release.ts'

/** What is done, in order, by a removal that says `gone`. */
const story = async (needsInterface: boolean, gone: boolean): Promise<readonly string[]> => {
  const told: string[] = []
  const ipam = { needsInterface } as Ipam
  const remove = async () => {
    told.push('remove')
    return gone
  }
  await removeAndRelease({ ipam }, new Failures(), remove, async (asked) => {
    expect(asked).toBe(ipam)
    told.push('release')
  })
  return told
}

test('an address is given back when its interface is gone, or before where it is needed for that', async () => {
  expect(await story(false, true)).toEqual(['remove', 'release'])
  expect(await story(true, true)).toEqual(['release', 'remove'])
})

test('the address of an interface that stays is not given to anybody else', async () => {
  expect(await story(false, false)).toEqual(['remove'])
  expect(await story(true, false)).toEqual(['release', 'remove'])
})

test('an IPAM plugin that can not be called keeps nobody from removing', async () => {
  const failures = new Failures()
  let removed = false
  const context = {
    get ipam(): Ipam {
      throw new Error('no such plugin')
    },
  }
  const remove = async () => {
    removed = true
    return true
  }
  await removeAndRelease(context, failures, remove, async () => {})
  expect(removed).toBe(true)
  expect(() => failures.raise()).toThrow('no such plugin')
})
