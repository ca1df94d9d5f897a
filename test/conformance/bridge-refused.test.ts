import { refusals } from './bridge/refusal.ts'
import { refused } from './bridge/scenarios.ts'

refusals(refused)
