/** What `linkwright daemon` refuses before it does anything. */
import { afterEach, expect, test, vi } from 'vitest'
import { type Command, runCommand } from '../../../cli/command.ts'
import { daemon } from '../../../cli/commands/daemon.ts'

const run = async (args: readonly string[]) => {
  let [out, err] = ['', '']
  const output = {
    out: (text: string) => {
      out += text
    },
    err: (text: string) => {
      err += text
    },
  }
  const status = await runCommand(daemon as Command, [...args], output)
  return { status, out, err }
}

afterEach(() => vi.unstubAllEnvs())

test.each([
  ['--concurrency 0', 'no whole number from 1 to 1024'],
  ['--concurrency 1025', 'no whole number'],
  ['--concurrency two', 'no whole number'],
  ['--queue=-1', 'no whole number'],
  ['--queue 1e3', 'no whole number from 0 to 100000'],
  ['--queue 100001', 'no whole number'],
  ['--metrics localhost:1', 'no IPv4 address'],
  ['--socket relative', 'no absolute path'],
  [`--socket /${'x'.repeat(107)}`, 'at most 107 bytes'],
  ['--dhcp-socket relative', 'no absolute path'],
  [`--dhcp-socket /${'x'.repeat(107)}`, 'at most 107 bytes'],
  ['--host-prefix relative', 'no absolute path'],
  ['--pidfile relative', 'no absolute path'],
  ['--no-dhcp --dhcp-socket /run/x', '--dhcp-socket means nothing with --no-dhcp'],
  ['--no-dhcp --dhcp-broadcast', '--dhcp-broadcast means nothing with --no-dhcp'],
  ['--no-dhcp --host-prefix /host', '--host-prefix means nothing with --no-dhcp'],
  ['--status --queue 3', '--queue means nothing with --status'],
  ['--status --no-dhcp', '--no-dhcp means nothing with --status'],
  ['--json', 'with --status only'],
  ['--nope', 'Unknown option'],
  ['argument', 'too many arguments'],
])('%s', async (args, why) => {
  const { status, err } = await run(args.split(' '))
  expect(status).toBe(2)
  expect(err).toMatch(why)
  expect(err).toMatch('Try: linkwright daemon --help')
})

test.each(['relative', `/${'x'.repeat(107)}`])('LINKWRIGHT_SOCKET=%s', async (path) => {
  vi.stubEnv('LINKWRIGHT_SOCKET', path)
  const { status, err } = await run(['--status'])
  expect(status).toBe(2)
  expect(err).toMatch('LINKWRIGHT_SOCKET')
})

test('LINKWRIGHT_SOCKET says where to ask; --socket wins', async () => {
  vi.stubEnv('LINKWRIGHT_SOCKET', '/nowhere/a.sock')
  expect(await run(['--status'])).toMatchObject({
    status: 1,
    out: '',
    err: expect.stringMatching('/nowhere/a.sock'),
  })
  const { err } = await run(['--status', '--json', '--socket', '/nowhere/b.sock'])
  expect(err).toBe(
    'linkwright daemon: no answer from the daemon at /nowhere/b.sock: there is no such socket\n',
  )
})

test('--help names every option', async () => {
  const { status, out } = await run(['--help'])
  expect(status).toBe(0)
  for (const name of Object.keys(daemon.options)) expect(out).toMatch(`--${name} `)
})
