import { refusals } from './bridge/refusal.ts'
import { refused } from './host-device/scenarios.ts'

refusals(refused)
