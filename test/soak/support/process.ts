/** What a process holds. */
import { readdirSync, readFileSync, readlinkSync } from 'node:fs'

export interface Holdings {
  /** Resident, MiB. */
  readonly memory: number
  /** What its descriptors lead to. */
  readonly descriptors: readonly string[]
  readonly threads: number
  /** Process ids of its children, those that are over but not waited for among them. */
  readonly children: readonly number[]
}

const targetOf = (path: string): string => {
  try {
    return readlinkSync(path)
  } catch {
    return ''
  }
}

const childrenOf = (pid: number, thread: string): number[] => {
  try {
    const text = readFileSync(`/proc/${pid}/task/${thread}/children`, 'utf8')
    return text.split(' ').filter(Boolean).map(Number)
  } catch {
    // That thread has ended.
    return []
  }
}

export const holdingsOf = (pid: number | null): Holdings => {
  if (pid === null) throw new Error('the process has ended')
  const folder = `/proc/${pid}/fd`
  const [, kibibytes] = /^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))!
  const threads = readdirSync(`/proc/${pid}/task`)
  return {
    memory: Number(kibibytes) / 1024,
    descriptors: readdirSync(folder)
      .map((fd) => targetOf(`${folder}/${fd}`))
      .filter((target) => target !== ''),
    threads: threads.length,
    children: threads.flatMap((thread) => childrenOf(pid, thread)),
  }
}
