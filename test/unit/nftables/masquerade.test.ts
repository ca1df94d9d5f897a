import { expect, test } from 'vitest'
import { masqueradeComment } from '../../../plugins/shared/masquerade-nftables.ts'

const owner = { network: 'unit-test', ifName: 'eth0', containerId: 'one' }

test('a comment begins with the hashes of network and attachment', () => {
  expect(masqueradeComment(owner)).toBe(
    '6fd94d501e58f0aa-287fc69eff0574a2, net: unit-test, if: eth0, id: one',
  )
})

test('a comment loses its quotation marks, which nft could not print', () => {
  expect(masqueradeComment({ ...owner, network: 'a"b"' })).toMatch(/, net: ab, if: eth0, id: one$/)
})

test('a comment is cut at 128 bytes', () => {
  const comment = masqueradeComment({ ...owner, containerId: 'c'.repeat(200) })
  expect(Buffer.byteLength(comment)).toBe(128)
  expect(comment).toMatch(/^[0-9a-f]{16}-[0-9a-f]{16}, net: unit-test, if: eth0, id: c+$/)
})

test('a comment is not cut within a character', () => {
  const comment = masqueradeComment({ ...owner, network: `${'ü'.repeat(60)}` })
  expect(Buffer.byteLength(comment)).toBeLessThanOrEqual(128)
  expect(comment).not.toContain('\ufffd')
})
