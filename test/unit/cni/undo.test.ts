import { expect, test } from 'vitest'
import { UndoStack } from '../../../cni/undo.ts'

/** A stack with `link` on it, and what has been undone of it, in order. */
const begun = () => {
  const undo = new UndoStack()
  const undone: string[] = []
  const push = (what: string): void => undo.push(what, () => void undone.push(what))
  push('link')
  return { undo, undone, push }
}

test('what is pushed beneath is undone after what was there', async () => {
  const { undo, undone, push } = begun()
  const address = await undo.beneath(async () => {
    push('first address')
    push('second address')
    return '10.1.2.3/24'
  })
  expect(address).toBe('10.1.2.3/24')
  push('rules')
  expect(await undo.run()).toEqual([])
  expect(undone).toEqual(['rules', 'link', 'second address', 'first address'])
})

test('work that fails beneath loses nothing', async () => {
  const { undo, undone, push } = begun()
  const failing = undo.beneath(async () => {
    push('address')
    throw new Error('no address')
  })
  await expect(failing).rejects.toThrow('no address')
  expect(await undo.run()).toEqual([])
  expect(undone).toEqual(['link', 'address'])
})
