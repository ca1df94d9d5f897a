/** What is said where a kernel lacks a kind of link, which no kernel has. */
import { expect, test } from 'vitest'
import { checkKind } from '../../../plugins/shared/lower.ts'
import { errorOf } from './node.ts'

test('STATUS names the module', async () => {
  await checkKind('veth')
  expect(await errorOf(checkKind('unheard-of'))).toMatchObject({
    code: 50,
    msg: 'this kernel makes no unheard-of links',
    details: 'load its module: modprobe unheard-of',
  })
})
