/** What a process holds. */
import { readdirSync, readFileSync, readlinkSync } from 'node:fs'

export interface Holdings {
  /** Resident, MiB. */
  readonly memory: number
  readonly descriptors: readonly string[]
}

const targetOf = (path: string): string => {
  try {
    return readlinkSync(path)
  } catch {
    return ''
  }
}

export const holdingsOf = (pid: number | null): Holdings => {
  if (pid === null) throw new Error('the process has ended')
  const folder = `/proc/${pid}/fd`
  const [, kibibytes] = /^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))!
  return {
    memory: Number(kibibytes) / 1024,
    descriptors: readdirSync(folder)
      .map((fd) => targetOf(`${folder}/${fd}`))
      .filter((target) => target !== ''),
  }
}
