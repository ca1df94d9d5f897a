/**
 * Runs of the bundled programs at build time, for the sake of what V8 compiles on the way. A plugin's ADD, CHECK and
 * DEL are real ones, on two namespaces without names that nobody else sees; without root they are left out, and the
 * executables compile at their first steps what they need.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { root } from './root.mjs'

/** With a /run of its own: what plugins keep there is not this machine's. */
const privateRun = [
  ...['unshare', '--mount', '--propagation', 'private'],
  ...['sh', '-c', 'mount -t tmpfs tmpfs /run && exec "$@"', 'sh'],
]

const version = { args: ['bridge'], env: { CNI_COMMAND: 'VERSION' } }

/** Namespaces that play host and container; undefined where this process may not make any. */
const namespaces = () => {
  const { createNetns } = createRequire(import.meta.url)(join(root, 'build/Release/linkwright.node'))
  try {
    return [createNetns(), createNetns()]
  } catch (error) {
    if (error.code !== 'EPERM') throw error
    return undefined
  }
}

/**
 * Calls `run` with each trial of the CNI executable. A trial has `args`, `env`, and where it is to run in a namespace
 * `input` and `prefix`, the command before it. `run` gives what the trial printed.
 */
export const cniTrials = (run) => {
  run(version)
  const pair = namespaces()
  if (!pair) return
  const dataDir = mkdtempSync(join(tmpdir(), 'linkwright-build-'))
  const [host, container] = pair.map(({ fd }) => `/proc/${process.pid}/fd/${fd}`)
  const conf = {
    cniVersion: '1.0.0',
    name: 'trial',
    type: 'bridge',
    bridge: 'cni0',
    isGateway: true,
    ipMasq: true,
    ipam: { type: 'host-local', subnet: '10.22.0.0/16', routes: [{ dst: '0.0.0.0/0' }], dataDir },
  }
  const env = { CNI_CONTAINERID: 'trial', CNI_NETNS: container, CNI_IFNAME: 'eth0', CNI_PATH: '/nowhere' }
  const call = (type, verb, more = {}) =>
    run({
      args: [type],
      env: { ...env, CNI_COMMAND: verb },
      input: JSON.stringify({ ...conf, ...more }),
      prefix: ['nsenter', `--net=${host}`, ...privateRun],
    })
  try {
    call('loopback', 'ADD')
    const prevResult = JSON.parse(call('bridge', 'ADD'))
    call('bridge', 'CHECK', { prevResult })
    call('bridge', 'DEL', { prevResult })
  } finally {
    rmSync(dataDir, { recursive: true, force: true })
    for (const netns of pair) netns.close()
  }
}

/** The same for the command line. */
export const cliTrials = (run) => {
  run({ args: ['--version'], env: {} })
}
