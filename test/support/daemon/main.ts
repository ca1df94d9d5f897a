/** The daemon as a program of its own: what the tests kill. Its argument: its socket's path. */
import { writeSync } from 'node:fs'
import { startDaemon } from '../../../daemon/daemon.ts'
import { OperationLog } from '../../../daemon/operation-log.ts'

const nothing = (): void => {}
const say = (message: string): void => void writeSync(2, `${message}\n`)

startDaemon({
  socket: { path: process.argv[2] ?? '' },
  dhcp: null,
  software: '1.2.3',
  log: { debug: nothing, info: nothing, warn: say, error: say },
  operations: new OperationLog(nothing),
}).then(
  (daemon) => {
    process.on('SIGTERM', () => void daemon.close())
    writeSync(1, 'ready\n')
  },
  (error: Error) => {
    say(error.message)
    process.exitCode = 1
  },
)
