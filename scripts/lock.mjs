import { linkSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { setTimeout as pause } from 'node:timers/promises'

const isAlive = (pid) => {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return error.code === 'EPERM'
  }
}

/** The process that holds the lock, null where it was let go meanwhile. */
const holder = (path) => {
  try {
    return Number(readFileSync(path, 'utf8'))
  } catch (error) {
    if (error.code === 'ENOENT') return null
    throw error
  }
}

/** By a link, so that nobody ever sees the file without its content. */
const take = (path) => {
  const own = `${path}.${process.pid}`
  writeFileSync(own, `${process.pid}`)
  try {
    linkSync(own, path)
    return true
  } catch (error) {
    if (error.code === 'EEXIST') return false
    throw error
  } finally {
    rmSync(own)
  }
}

/** Runs `work` while no other process does, told by a file with the process's id; one left by a dead process is taken. */
export const withLock = async (path, work) => {
  let told = false
  while (!take(path)) {
    const pid = holder(path)
    if (pid === null) continue
    if (!isAlive(pid)) rmSync(path, { force: true })
    else {
      if (!told) console.log(`waiting for process ${pid}, which holds ${path}`)
      told = true
      await pause(100)
    }
  }
  try {
    return await work()
  } finally {
    rmSync(path, { force: true })
  }
}
