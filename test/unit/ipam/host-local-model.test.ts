/** host-local against the simplest implementation there is, while others work on the same directory. */
import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { createHostLocal } from '../../../ipam/index.ts'
import { add, addUndoably, check, del, gc, scratch, tree } from './harness.ts'
import { Naive } from './naive.ts'

const FIRST = 2
const LAST = 40
const owners = Array.from({ length: 30 }, (_, i) => ({
  containerId: `c${i % 20}`,
  ifName: `eth${Math.floor(i / 20)}`,
}))

type Step =
  | { readonly do: 'add' | 'del' | 'check' | 'goAdd' | 'goDel' | 'undone' | 'old'; readonly who: number }
  | { readonly do: 'lose' | 'wipe' | 'gc' | 'empty' | 'damage' | 'restart'; readonly who: number }

const step: fc.Arbitrary<Step> = fc.record({
  do: fc.oneof(
    { weight: 12, arbitrary: fc.constant('add' as const) },
    { weight: 6, arbitrary: fc.constant('del' as const) },
    { weight: 2, arbitrary: fc.constantFrom('goAdd' as const, 'goDel' as const) },
    {
      weight: 2,
      arbitrary: fc.constantFrom(
        ...(['check', 'undone', 'old', 'lose', 'wipe', 'gc', 'empty', 'damage', 'restart'] as const),
      ),
    },
  ),
  who: fc.nat(owners.length - 1),
})

test('whoever works on the directory in between, it ends up as the Go plugin would leave it', {
  timeout: 120_000,
}, async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 30, maxLength: 120, size: 'max' }), async (steps) => {
      const data = scratch()
      const model = new Naive(join(data, 'model'), FIRST, LAST)
      const dir = join(data, 'ours', 'net')
      const go = new Naive(dir, FIRST, LAST)
      let plugin = createHostLocal()
      const conf = {
        cniVersion: '1.1.0',
        name: 'net',
        ipam: {
          dataDir: join(data, 'ours'),
          subnet: '10.1.0.0/24',
          rangeStart: `10.1.0.${FIRST}`,
          rangeEnd: `10.1.0.${LAST}`,
        },
      }
      for (const { do: what, who } of steps) {
        const { containerId, ifName } = owners[who]!
        const call = { conf, containerId, ifName }
        const owner = `${containerId}\r\n${ifName}`
        const name = `10.1.0.${FIRST + who}`
        switch (what) {
          case 'add': {
            const expected = model.add(owner)
            const result = await add(plugin, call).catch(() => null)
            expect(result?.ips?.[0]?.address ?? null).toBe(expected && `${expected}/24`)
            break
          }
          case 'del':
            model.del(owner)
            await del(plugin, call)
            break
          case 'check': {
            const held = model.heldBy(owner).length + model.heldBy(containerId).length
            const found = await check(plugin, call).then(
              () => true,
              () => false,
            )
            expect(found).toBe(held > 0)
            break
          }
          case 'undone': {
            const expected = model.add(owner)
            if (expected !== null) rmSync(join(model.dir, expected))
            await addUndoably(plugin, call).then(
              async ({ undo }) => expect(await undo.run()).toEqual([]),
              () => {},
            )
            break
          }
          case 'goAdd':
            expect(go.add(owner)).toBe(model.add(owner))
            break
          case 'goDel':
            go.del(owner)
            model.del(owner)
            break
          case 'old':
            for (const { dir } of [go, model]) rmSync(join(dir, name), { force: true })
            for (const { dir } of [go, model]) writeFileSync(join(dir, name), containerId, { mode: 0o600 })
            break
          case 'lose':
            for (const { dir } of [go, model]) rmSync(join(dir, name), { force: true })
            break
          case 'wipe':
            for (const { dir } of [go, model]) {
              rmSync(dir, { recursive: true })
              mkdirSync(dir)
            }
            break
          case 'gc': {
            const valid = owners.filter((_, i) => i % 2 === who % 2)
            await gc(plugin, { conf }, valid)
            const keep = new Set(
              valid.flatMap(({ containerId, ifName }) => [`${containerId}\r\n${ifName}`, containerId]),
            )
            for (const { containerId, ifName } of owners)
              for (const content of [`${containerId}\r\n${ifName}`, containerId])
                if (!keep.has(content))
                  for (const name of model.heldBy(content)) rmSync(join(model.dir, name))
            break
          }
          case 'empty':
            // A process was killed between creating and writing. It is as if it had not been there.
            if (!(name in tree(dir))) writeFileSync(join(dir, name), '', { mode: 0o600 })
            await gc(plugin, { conf }, owners)
            break
          case 'damage':
            rmSync(join(data, 'ours', '.linkwright'), { recursive: true, force: true })
            break
          case 'restart':
            plugin = createHostLocal()
        }
        const { lock, ...files } = tree(dir)
        expect(files).toEqual(tree(model.dir))
      }
    }),
    { numRuns: 60 },
  )
})
