import { plugins } from '../plugins/index.ts'
import { runExecutable } from './executable.ts'

runExecutable(plugins)
