import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { type ChildOptions, runChild } from '../../../cni/child.ts'
import { eventually } from '../../support/wait.ts'
import { temporaryDirectory } from './foreign.ts'

const usual: ChildOptions = {
  env: { PATH: '/usr/bin:/bin' },
  timeout: 30_000,
  maxOutput: 1000,
  grace: 10_000,
}
const shell = (script: string, more: Partial<ChildOptions> = {}) =>
  runChild('/bin/sh', ['-c', script], { ...usual, ...more })

const isOver = (pid: number): boolean => {
  try {
    // A zombie is over, too: nobody may have waited for it yet.
    return /^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'))
  } catch {
    return true
  }
}

test('its input, output, name, environment and status', async () => {
  const ended = await shell('read line; echo "$line $0 $A $PATH"; echo no >&2; exit 3', {
    input: 'in\n',
    env: { A: 'b', PATH: '/bin' },
  })
  expect(ended).toEqual({ status: 3, signal: null, stdout: 'in /bin/sh b /bin\n', stderr: 'no\n' })
  const named = await runChild('/bin/sh', ['-c', 'cat /proc/$$/cmdline | tr "\\0" " "'], {
    ...usual,
    argv0: 'ptp',
  })
  expect(named.stdout).toMatch(/^ptp -c /)
  expect(await shell('kill -9 $$')).toMatchObject({ status: null, signal: 'SIGKILL' })
})

test('that it does not read its input is no failure', async () => {
  expect(await shell('exec <&-; exit 0', { input: 'x'.repeat(1 << 20) })).toMatchObject({ status: 0 })
})

test.each([
  ['that is not there', '/nowhere/sh', 'ENOENT'],
  ['that is none', '/', 'EACCES'],
])('a program %s', async (_, file, code) => {
  await expect(runChild(file, [], usual)).rejects.toMatchObject({ code })
})

test.each(['', '>&2'])('as much output as it may have, and a byte more (%s)', async (where) => {
  const say = (bytes: number) => shell(`head -c ${bytes} /dev/zero ${where}`)
  expect((await say(1000)).status).toBe(0)
  await expect(say(1001)).rejects.toMatchObject({
    code: 'EMSGSIZE',
    message: '/bin/sh wrote more than 1000 bytes',
  })
})

describe('is ended', () => {
  /** A program, one that it has started, and what becomes of both; it ends when asked, where it heeds that. */
  const family = (heeds: boolean) => {
    const directory = temporaryDirectory()
    const at = (name: string) => join(directory, name)
    const trap = heeds ? `trap 'touch ${at('asked')}; exit' TERM;` : `trap '' TERM;`
    const script = `${trap} sleep 600 & echo $! >${at('child.new')}; mv ${at('child.new')} ${at('child')}; wait; wait`
    return {
      script,
      isAsked: () => existsSync(at('asked')),
      started: () => eventually('it has started', () => existsSync(at('child'))),
      child: () => Number(readFileSync(at('child'), 'utf8')),
    }
  }

  test('with what it has started, when it is stopped: asked first', async () => {
    const { script, isAsked, started, child } = family(true)
    const controller = new AbortController()
    const running = shell(script, { signal: controller.signal })
    await started()
    controller.abort(new Error('why'))
    await expect(running).rejects.toMatchObject({
      message: '/bin/sh was stopped',
      cause: { message: 'why' },
    })
    expect(isAsked()).toBe(true)
    await eventually('its child is over', () => isOver(child()))
  })

  test.each([
    ['without being asked', true, 0],
    ['though it does not heed that', false, 50],
  ])('when it takes too long, %s', async (_, heeds, grace) => {
    const { script, isAsked, child } = family(heeds)
    await expect(shell(script, { timeout: 1500, grace })).rejects.toMatchObject({
      code: 'ETIMEDOUT',
      message: '/bin/sh was not over after 1500 ms',
    })
    expect(isAsked()).toBe(false)
    await eventually('its child is over', () => isOver(child()))
  })

  test('at once when it was stopped before', async () => {
    await expect(shell('sleep 600', { signal: AbortSignal.abort() })).rejects.toThrow('was stopped')
  })
})
