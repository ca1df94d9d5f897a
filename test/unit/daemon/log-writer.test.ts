import { closeSync, constants, mkdtempSync, openSync, readFileSync, readSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, onTestFinished, test } from 'vitest'
import { jsonLogger, LogWriter } from '../../../daemon/log-writer.ts'
import { isErrno } from '../../../netlink/error.ts'
import { must } from '../../support/program.ts'
import { eventually } from '../../support/wait.ts'

const folder = mkdtempSync(join(tmpdir(), 'linkwright-log-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

let count = 0
const file = () => {
  const path = join(folder, `${count++}`)
  const fd = openSync(path, 'w')
  onTestFinished(() => closeSync(fd))
  return { fd, text: () => readFileSync(path, 'utf8') }
}

/** A FIFO whose reader reads when the test says so. @param flags of the writer */
const fifo = async (flags: string | number) => {
  const path = join(folder, `fifo${count++}`)
  await must('mkfifo', [path])
  // Both ends at once: opening one alone waits for the other one.
  const both = openSync(path, 'r+')
  const reader = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK)
  const writer = openSync(path, flags)
  closeSync(both)
  let isOpen = true
  const closeReader = () => {
    if (isOpen) closeSync(reader)
    isOpen = false
  }
  onTestFinished(() => {
    closeReader()
    closeSync(writer)
  })
  const buffer = Buffer.alloc(1 << 16)
  /** What is there by now. */
  const read = (): string => {
    try {
      return buffer.toString('utf8', 0, readSync(reader, buffer))
    } catch (error) {
      if (isErrno(error, 'EAGAIN')) return ''
      throw error
    }
  }
  return { fd: writer, closeReader, read }
}

describe('the writer', () => {
  test('writes lines in order, and says when all are written', async () => {
    const { fd, text } = file()
    const writer = new LogWriter(fd)
    await writer.flush()
    const lines = Array.from({ length: 1000 }, (_, i) => `line ${i} ü\n`)
    for (const line of lines) writer.write(line)
    await writer.flush()
    expect(text()).toBe(lines.join(''))
    writer.write('one more\n')
    await writer.flush()
    expect(text()).toBe(`${lines.join('')}one more\n`)
  })

  test.each([
    ['waits', 'w'],
    ['says that it is full', 0o4001],
  ])(
    'nobody reads: the loop goes on, what is too much is dropped and counted; a pipe that %s',
    async (_, flags) => {
      const { fd, read } = await fifo(flags)
      const writer = new LogWriter(fd, { limit: 100_000 })
      // A pipe holds 64 KiB: this stays under way, and what comes after it waits.
      writer.write(`${'y'.repeat(70_000)}\n`)
      for (let i = 0; i < 1200; i++) writer.write(`${'x'.repeat(99)}\n`)
      let all = ''
      await eventually('everything is read', () => {
        all += read()
        return all.includes('could not keep up')
      })
      const last = all.trim().split('\n').at(-1)!
      expect(JSON.parse(last)).toMatchObject({ level: 'warn', message: 'the log could not keep up' })
      expect(JSON.parse(last).dropped).toBe(200)
      expect(all.match(/x{99}\n/g)).toHaveLength(1000)
    },
  )

  test('a reader that is gone ends the log, not the program', async () => {
    const { fd, closeReader } = await fifo('w')
    closeReader()
    const writer = new LogWriter(fd)
    writer.write('a\n')
    await writer.flush()
    writer.write('b\n')
    await writer.flush()
  })
})

describe('the logger', () => {
  test('one JSON object a line; what is for developers is left out', () => {
    const lines: string[] = []
    const log = jsonLogger((line) => void lines.push(line))
    log.debug('nothing')
    log.info('a', { b: 1 })
    log.warn('c')
    log.error('d\ne')
    expect(lines.every((line) => /^[^\n]*\n$/.test(line))).toBe(true)
    expect(lines.map((line) => JSON.parse(line))).toMatchObject([
      { level: 'info', message: 'a', b: 1, time: expect.stringMatching(/^\d{4}-.*Z$/) },
      { level: 'warn', message: 'c' },
      { level: 'error', message: 'd\ne' },
    ])
  })
})
