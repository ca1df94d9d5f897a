import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, mkdtempSync, openSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, onTestFinished, test } from 'vitest'
import type { Descriptor } from '../../../native/binding.ts'
import { eventually } from '../../support/wait.ts'
import {
  closing,
  expecting,
  getLink,
  held,
  native,
  refusal,
  runBare,
  runProgram,
  socket,
  worker,
} from './support.ts'

const LOCK_SH = 1
const LOCK_EX = 2
const LOCK_UN = 8
const O_CREAT_RDWR = 0o102

const lockFile = (): string => {
  const directory = mkdtempSync(join(tmpdir(), 'linkwright-'))
  onTestFinished(() => rmSync(directory, { recursive: true }))
  return join(directory, 'lock')
}

const open = (path: string): Descriptor => closing(native.open(path, O_CREAT_RDWR, 0o600))

/** Another process that holds the lock until `release`. */
const holder = async (path: string) => {
  const child = spawn('flock', [path, 'sh', '-c', 'echo locked; exec cat'], { stdio: 'pipe' })
  onTestFinished(() => {
    child.kill('SIGKILL')
  })
  await once(child.stdout, 'data')
  return {
    release: async () => {
      child.stdin.end()
      await once(child, 'close')
    },
  }
}

/** Waits until somebody else can have the lock. */
const free = async (path: string): Promise<void> => {
  const probe = open(path)
  await eventually('the lock is free', () => native.tryFlock(probe, LOCK_EX))
  probe.close()
}

describe('tryFlock', () => {
  test('takes, shares and gives back', () => {
    const path = lockFile()
    const [one, two] = [open(path), open(path)]
    expect(native.tryFlock(one, LOCK_SH)).toBe(true)
    expect(native.tryFlock(two, LOCK_SH)).toBe(true)
    expect(native.tryFlock(two, LOCK_EX)).toBe(false)
    expect(native.tryFlock(one, LOCK_UN)).toBe(true)
    expect(native.tryFlock(two, LOCK_EX)).toBe(true)
  })

  test('sees the lock of another process', async () => {
    const path = lockFile()
    const { release } = await holder(path)
    const file = open(path)
    expect(native.tryFlock(file, LOCK_EX)).toBe(false)
    await release()
    expect(native.tryFlock(file, LOCK_EX)).toBe(true)
  })

  test('reports other errors', () => {
    const path = closing(native.open('/', 0o10000000, 0)) // O_PATH
    expect(refusal(() => native.tryFlock(path, LOCK_EX))).toMatchObject({ code: 'EBADF', syscall: 'flock' })
  })
})

describe('flock', () => {
  test('takes a free lock without a thread', async () => {
    const file = open(lockFile())
    const { threads } = held()
    const promise = native.flock(file, LOCK_EX)
    expect(held().threads).toBe(threads)
    await promise
  })

  test('waits for another process, and keeps others out', async () => {
    const path = lockFile()
    const { release } = await holder(path)
    const file = open(path)
    let got = false
    const promise = native.flock(file, LOCK_EX).then(() => {
      got = true
    })
    // Other work goes on meanwhile, in the pool too.
    await Promise.all(
      Array.from({ length: 16 }, () => native.transact(socket(16, 3), getLink(1), expecting(1))),
    )
    expect(got).toBe(false)
    await release()
    await promise
    expect(native.tryFlock(open(path), LOCK_SH)).toBe(false)
  })

  test('waits many times at once, in threads that end', async () => {
    const path = lockFile()
    const before = held()
    const order: number[] = []
    const first = open(path)
    expect(native.tryFlock(first, LOCK_EX)).toBe(true)
    const files = Array.from({ length: 20 }, () => open(path))
    const all = files.map(async (file, index) => {
      await native.flock(file, LOCK_EX)
      order.push(index)
      file.close()
    })
    expect(held().threads).toBe(before.threads + 20)
    first.close()
    await Promise.all(all)
    expect(order.sort((a, b) => a - b)).toEqual(files.map((_, index) => index))
    await eventually('the threads have ended', () => held().threads === before.threads)
    expect(held().descriptors).toBe(before.descriptors)
  })

  test('rejects at once when the descriptor is closed, and lets go of the lock when it comes', async () => {
    const path = lockFile()
    const before = held()
    const { release } = await holder(path)
    const file = native.open(path, O_CREAT_RDWR, 0o600)
    const promise = native.flock(file, LOCK_EX)
    file.close()
    expect(file.fd).toBe(-1)
    await expect(promise).rejects.toMatchObject({ code: 'EBADF', syscall: 'flock' })
    await release()
    await free(path)
    await eventually('the thread has ended', () => held().threads === before.threads)
    expect(held()).toEqual(before)
  })

  test('lets go even where the open file lives on elsewhere', async () => {
    const path = lockFile()
    const { release } = await holder(path)
    const file = native.open(path, O_CREAT_RDWR, 0o600)
    // The same open file by another number: closing `file` does not unlock it.
    const other = openSync(`/proc/self/fd/${file.fd}`, 'r')
    const child = spawn('cat', [], { stdio: ['pipe', 'ignore', 'ignore', file.fd] })
    const promise = native.flock(file, LOCK_EX)
    file.close()
    await expect(promise).rejects.toMatchObject({ code: 'EBADF' })
    await release()
    await free(path)
    closeSync(other)
    child.stdin!.end()
    await once(child, 'close')
  })

  test('gives the lock to exactly one when closing and getting race', async () => {
    const path = lockFile()
    for (let round = 0; round < 100; round++) {
      const first = native.open(path, O_CREAT_RDWR, 0o600)
      const second = native.open(path, O_CREAT_RDWR, 0o600)
      // The thread of the round before may have it for a moment.
      await eventually('the lock is free', () => native.tryFlock(first, LOCK_EX))
      const promise = native.flock(second, LOCK_EX).then(
        () => true,
        () => false,
      )
      first.close()
      for (let spin = 0; spin < round * 50; spin++) held
      second.close()
      expect(await promise).toBe(false)
    }
  })
})

describe('a program with a waiting lock', () => {
  const wait = `const file = native.open(process.argv[1], 0o102, 0o600); const promise = native.flock(file, 2)\n`
  const runWaiting = (path: string, source: string) =>
    runProgram(`process.argv[1] = ${JSON.stringify(path)}\n${wait}${source}`)

  test('stays for the promise', async () => {
    const path = lockFile()
    const { release } = await holder(path)
    const running = runWaiting(path, `promise.then(() => console.log('got it'))`)
    await release()
    expect(await running).toMatchObject({ status: 0, stdout: 'got it\n', stderr: '' })
    await free(path)
  })

  test('can exit', async () => {
    const path = lockFile()
    const { release } = await holder(path)
    expect(await runWaiting(path, `process.exit(3)`)).toMatchObject({ status: 3, stderr: '' })
    await release()
    await free(path)
  })

  test('ends by itself when the descriptor is closed', async () => {
    const path = lockFile()
    const { release } = await holder(path)
    const source = `promise.catch((error) => console.log(error.code)); file.close()`
    expect(await runWaiting(path, source)).toMatchObject({ status: 0, stdout: 'EBADF\n', stderr: '' })
    await release()
    await free(path)
  })
})

describe('a worker that waits for a lock', () => {
  test('can be terminated, and nobody holds the lock then', async () => {
    const path = lockFile()
    // The thread may outlive the worker, and the addon must stay in memory for it: in a process of its own, where no
    // other thread has loaded it.
    for (const release of ['before', 'after']) {
      const { stdout, stderr, status } = await runBare(`
        const { Worker } = require('node:worker_threads')
        const { execFile, spawn } = require('node:child_process')
        const path = ${JSON.stringify(path)}
        const child = spawn('flock', [path, 'sh', '-c', 'echo locked; exec cat'])
        child.stdout.once('data', () => {
          const worker = new Worker(\`
            const { workerData, parentPort } = require('node:worker_threads')
            const native = require(workerData.addon)
            native.flock(native.open(workerData.path, 0o102, 0o600), 2)
            parentPort.postMessage('waiting')
          \`, { eval: true, workerData: { path, addon: process.env.ADDON } })
          worker.once('message', async () => {
            if ('${release}' === 'before') child.stdin.end()
            await worker.terminate()
            child.stdin.end()
            execFile('flock', [path, 'true'], { timeout: 10_000 }, (error) => console.log(error ?? 'free'))
          })
        })
      `)
      expect({ stdout, stderr, status }).toEqual({ stdout: 'free\n', stderr: '', status: 0 })
    }
  })

  test('ends by itself when it has the lock', async () => {
    const path = lockFile()
    const { release } = await holder(path)
    const thread = worker(
      `const { workerData, parentPort } = require('node:worker_threads')
       native.flock(native.open(workerData.path, 0o102, 0o600), 2).then(() => parentPort.postMessage('got it'))
       parentPort.postMessage('waiting')`,
      { path },
    )
    await once(thread, 'message')
    const got = once(thread, 'message')
    const exit = once(thread, 'exit')
    await release()
    expect((await got)[0]).toBe('got it')
    expect((await exit)[0]).toBe(0)
    await free(path)
  })
})
