/** The command line: `linkwright COMMAND …`. */
import { writeSync } from 'node:fs'
import { isErrno } from '../netlink/error.ts'
import { type Output, runCommand } from './command.ts'
import { commands } from './commands/index.ts'
import { packageVersion } from './version.ts'

const write =
  (fd: number) =>
  (text: string): void => {
    for (let rest = Buffer.from(text); rest.length > 0; )
      try {
        rest = rest.subarray(writeSync(fd, rest))
      } catch (error) {
        // The reader has seen enough: `linkwright schema bridge | head`.
        if (isErrno(error, 'EPIPE')) return
        if (!isErrno(error, 'EAGAIN')) throw error
      }
  }

const help = (): string => {
  const width = Math.max(...Object.keys(commands).map((name) => name.length))
  return [
    'Linux network attachments for containers.',
    '',
    'Usage: linkwright COMMAND [arguments] [options]',
    '',
    'Commands:',
    ...Object.entries(commands).map(([name, { summary }]) => `  ${name.padEnd(width)}  ${summary}`),
    '',
    'linkwright COMMAND --help tells more; --version prints the version.',
    '',
  ].join('\n')
}

const main = async ([name, ...args]: readonly string[], output: Output): Promise<number> => {
  if (name === '--version' || name === '-V') {
    output.out(`linkwright ${packageVersion()}\n`)
    return 0
  }
  if (name === '--help' || name === '-h' || name === 'help') {
    output.out(help())
    return 0
  }
  const entry = name === undefined || !Object.hasOwn(commands, name) ? undefined : commands[name]
  if (!entry) {
    output.err(name === undefined ? help() : `linkwright: no command ${JSON.stringify(name)}\n\n${help()}`)
    return 2
  }
  return await runCommand(await entry.load(), args, output)
}

/** Runs the command that `args` name, and exits: 0, 1 for a failure, 2 for wrong arguments. */
export const runCommandLine = (args: readonly string[]): void => {
  main(args, { out: write(1), err: write(2) }).then(
    (status) => process.exit(status),
    (error: unknown) => {
      write(2)(`linkwright: ${(error as Error).stack}\n`)
      process.exit(1)
    },
  )
}
