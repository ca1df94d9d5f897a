import { comparedOf } from './bridge/sides.ts'
import { swaps } from './bridge/swap.ts'
import { scenarios } from './tap/scenarios.ts'

swaps(comparedOf(scenarios).filter(({ title }) => title === 'two containers'))
