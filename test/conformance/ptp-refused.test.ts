import { refusals } from './bridge/refusal.ts'
import { refused } from './ptp/scenarios.ts'

refusals(refused)
