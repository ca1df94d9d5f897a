import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { shareJournal, takeJournal } from '../../../../ipam/dhcp/one-shot.ts'

const folder = (): string => {
  const path = mkdtempSync(join(tmpdir(), 'linkwright-dhcp-'))
  onTestFinished(() => rmSync(path, { recursive: true }))
  return path
}

/** Longer than any test. */
const PATIENT = 60_000

test('operations share it, and not with a keeper, which has it alone', async () => {
  const path = folder()
  const keeper = await takeJournal(path, PATIENT)
  expect(keeper).not.toBeNull()
  expect(shareJournal(path)).toBeNull()
  // At once: another keeper does not end by itself.
  expect(await takeJournal(path, PATIENT)).toBeNull()
  keeper!.release()
  const [one, two] = [shareJournal(path), shareJournal(path)]
  for (const held of [one, two]) {
    expect(held).not.toBeNull()
    held!.release()
  }
})

test('a keeper that starts waits for the operations that began without it', async () => {
  const path = folder()
  const [one, two] = [shareJournal(path)!, shareJournal(path)!]
  const order: string[] = []
  const taken = takeJournal(path, PATIENT).then((held) => {
    order.push('taken')
    return held
  })
  order.push('first done')
  one.release()
  await new Promise(setImmediate)
  order.push('all done')
  two.release()
  const keeper = await taken
  expect(order).toEqual(['first done', 'all done', 'taken'])
  expect(shareJournal(path)).toBeNull()
  keeper!.release()
})

test('but not for ever, and nothing of it is left', async () => {
  const path = folder()
  const operation = shareJournal(path)!
  expect(await takeJournal(path, 1)).toBeNull()
  operation.release()
  const keeper = await takeJournal(path, 1)
  expect(keeper).not.toBeNull()
  keeper!.release()
})
