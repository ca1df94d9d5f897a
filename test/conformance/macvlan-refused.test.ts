import { refusals } from './bridge/refusal.ts'
import { refused } from './macvlan/scenarios.ts'

refusals(refused)
