import { closeSync, constants, openSync, readFileSync } from 'node:fs'
import type { Dns } from '../cni/types.ts'
import { ioError } from './files.ts'

/**
 * Reads the lines of a resolv.conf (man 5 resolv.conf) that a result has room for: the first address of each
 * `nameserver`, the last `domain`, everything after `search` and `options`.
 * @throws CniError code 5 where the file can't be read
 */
export const readResolvConf = (path: string): Dns => {
  const nameservers: string[] = []
  const search: string[] = []
  const options: string[] = []
  let domain: string | undefined
  for (const line of read(path).split('\n')) {
    const [keyword = '', ...values] = line.trim().split(/\s+/)
    if (values.length === 0) continue
    if (keyword === 'nameserver') nameservers.push(values[0]!)
    else if (keyword === 'domain') domain = values[0]
    else if (keyword === 'search') search.push(...values)
    else if (keyword === 'options') options.push(...values)
  }
  return {
    ...(nameservers.length > 0 && { nameservers }),
    ...(domain !== undefined && { domain }),
    ...(search.length > 0 && { search }),
    ...(options.length > 0 && { options }),
  }
}

const read = (path: string): string => {
  try {
    // Not to wait where somebody put a named pipe.
    const file = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK)
    try {
      return readFileSync(file, 'utf8')
    } finally {
      closeSync(file)
    }
  } catch (error) {
    throw ioError(error, path)
  }
}
