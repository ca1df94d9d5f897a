import { test } from 'vitest'
import { lines } from '../../unit/nftables/lines.ts'
import { compareRules } from './compare-rules.ts'

test.each(['inet', 'ip', 'ip6', 'bridge'] as const)(
  'rules of family %s are those that nft makes of the same lines',
  (family) => compareRules(family, lines),
)
