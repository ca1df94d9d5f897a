import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { withLock } from '../lock.mjs'
import { root } from '../root.mjs'

const version = '1.9.1'
const module = 'github.com/containernetworking/plugins/plugins'
/** Interface plugins that Debian's lack or whose older ones know less, and the IPAM that they call. */
const names = [
  ...['bridge', 'dummy', 'host-device', 'ipvlan', 'macvlan', 'ptp', 'tap', 'vlan'].map(
    (name) => `main/${name}`,
  ),
  ...['host-local', 'static'].map((name) => `ipam/${name}`),
  ...['bandwidth', 'firewall', 'portmap', 'sbr', 'tuning', 'vrf'].map((name) => `meta/${name}`),
]
/** One that left these plugins for a module of its own; the last version from here writes the same files. */
const left = { version: '0.9.1', names: ['meta/flannel'] }
const sets = [{ version, names }, left]
const minutes = 5

/** Groups with scenarios that only these plugins know. */
const groups = ['conformance', 'served', 'stock-kernel']

/** Where the tests look for them: there with all of them, or not at all. Git ignores it. */
const folder = join(root, 'build/go-plugins')
const stamp = sets.map((set) => `${set.version} ${set.names.join(' ')}\n`).join('')
const stampIn = (path) => join(path, 'made-of')
const isThere = () => existsSync(stampIn(folder)) && readFileSync(stampIn(folder), 'utf8') === stamp

/** @returns why it could not, or null */
const install = (into) => {
  for (const set of sets) {
    const problem = installSet(into, set)
    if (problem !== null) return problem
  }
  return null
}

/** One `go install` knows one version of a module. @returns why it could not, or null */
const installSet = (into, { version, names }) => {
  const { status, signal, error, stderr } = spawnSync(
    'go',
    ['install', ...names.map((name) => `${module}/${name}@v${version}`)],
    {
      cwd: into,
      stdio: ['ignore', 'inherit', 'pipe'],
      encoding: 'utf8',
      timeout: minutes * 60_000,
      env: {
        ...process.env,
        // Where Go is when it is nobody's package.
        PATH: `${process.env.PATH}:/usr/local/go/bin`,
        ...{ GOBIN: into, GOFLAGS: '-trimpath', CGO_ENABLED: '0' },
      },
    },
  )
  if (error?.code === 'ENOENT') return 'there is no Go here'
  if (error?.code === 'ETIMEDOUT') return `go install was not over after ${minutes} minutes`
  if (error) return error.message
  if (status === 0) return null
  process.stderr.write(stderr)
  return `go install: ${stderr.trim().split('\n').at(-1) || (signal ?? `exit ${status}`)}`
}

const make = () => {
  if (isThere()) return null
  // Others than these are not to be taken for them.
  rmSync(folder, { recursive: true, force: true })
  const next = `${folder}.new`
  rmSync(next, { recursive: true, force: true })
  mkdirSync(next)
  try {
    console.log(`building the Go plugins ${version} to compare with, once`)
    const problem = install(next)
    if (problem !== null) return problem
    writeFileSync(stampIn(next), stamp)
    renameSync(next, folder)
    return null
  } finally {
    rmSync(next, { recursive: true, force: true })
  }
}

/**
 * Builds Go plugins that are newer than Debian's, where there is Go and its modules can be had.
 * @param asked groups of tests that will run
 * @returns for those of them that compare with these plugins, what the summary says of it
 */
export const ensureGoPlugins = async (asked) => {
  const comparing = groups.filter((name) => asked.includes(name))
  if (comparing.length === 0) return new Map()
  mkdirSync(join(root, 'build'), { recursive: true })
  const problem = await withLock(`${folder}.lock`, make)
  const usual = process.env.PEER_CNI_PATH ? `those in ${process.env.PEER_CNI_PATH}` : "Debian's"
  const newer =
    problem === null ? `${version} for what these lack` : `left out is what these lack: ${problem}`
  const line = `compared with Go plugins: ${usual}; ${newer}`
  return new Map(comparing.map((name) => [name, line]))
}
