import { test } from 'vitest'
import { compareRules } from '../../kernel/nftables/compare-rules.ts'
import { bridgeLines } from '../../unit/nftables/lines.ts'

test('rules for bridges and ports are those that nft makes of the same lines', () =>
  compareRules('bridge', bridgeLines))
