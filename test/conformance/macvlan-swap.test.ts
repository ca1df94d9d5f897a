import { swaps } from './bridge/swap.ts'
import { scenarios } from './macvlan/scenarios.ts'

swaps(scenarios.filter(({ title }) => ['both families', 'two containers'].includes(title)))
