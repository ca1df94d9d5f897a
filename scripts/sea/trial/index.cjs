'use strict'
/**
 * Lives of attachments when the executable is built, so that V8 compiles what they run, and has that in the start-up
 * snapshot: compiling it would take a call half of its time. They see a kernel of make-believe, a folder of their own,
 * and drawn bytes that are always the same. The script is run once more afterwards, so that nothing of what they leave
 * in its variables is in the snapshot: what V8 compiles belongs to the script, and not to one run of it.
 */
const { Kernel } = require('./kernel.cjs')

const ipam = (dataDir) => ({
  ipam: { type: 'host-local', subnet: '10.22.0.0/16', routes: [{ dst: '0.0.0.0/0' }], dataDir },
})
const bridge = { type: 'bridge', bridge: 'cni0', isGateway: true }

/** Each as its container's first attachment; a bridge's second one finds what the first has made. */
const networks = [
  { ...bridge, ipMasq: false },
  { ...bridge, ipMasq: true },
  { ...bridge, ipMasq: true },
  { type: 'ptp', ipMasq: false },
  { type: 'ptp', ipMasq: true },
  { type: 'macvlan', master: 'mv0' },
  { type: 'host-device', device: 'hd0' },
]

/** What is kept for as long as a host runs. */
const RUN = '/run/linkwright'

/** The functions of node:fs, for which that lies in `folder` and is root's, whoever builds. */
const redirected = (fs, folder) => {
  const place = (path) =>
    typeof path === 'string' && path.startsWith(RUN) ? `${folder}/run${path.slice(RUN.length)}` : path
  const all = { ...fs }
  for (const name of Object.keys(fs))
    if (name.endsWith('Sync')) all[name] = (path, ...more) => fs[name](place(path), ...more.map(place))
  all.lstatSync = (path, ...more) => {
    const stat = fs.lstatSync(place(path), ...more)
    return stat && path !== place(path) ? Object.assign(stat, { uid: 0 }) : stat
  }
  return all
}

/** One call of a plugin, as the executable gets it. */
const call = async ({ make, modules, type, verb, conf, kernel }) => {
  let printed = ''
  let given = Buffer.from(JSON.stringify(conf))
  let seed = 0
  const fill = (bytes) => bytes.map(() => ++seed & 0xff)
  const { crypto } = modules
  const fs = redirected(modules.fs, conf.ipam.dataDir)
  const fakes = {
    'node:fs': {
      ...fs,
      readSync: (fd, buffer, ...more) => {
        if (fd !== 0) return fs.readSync(fd, buffer, ...more)
        const length = given.copy(buffer)
        given = given.subarray(length)
        return length
      },
      writeSync: (fd, data, ...more) => {
        if (fd !== 1 && fd !== 2) return fs.writeSync(fd, data, ...more)
        printed += data
        return data.length
      },
    },
    'node:crypto': {
      ...crypto,
      randomBytes: (size) => fill(Buffer.alloc(size)),
      randomFillSync: fill,
      randomInt: (min) => min,
      randomUUID: () => '00000000-0000-4000-8000-000000000000',
    },
  }
  return await new Promise((resolve, reject) => {
    const process_ = Object.create(process, {
      argv: { value: ['/linkwright-cni', '/linkwright-cni', type] },
      env: {
        value: {
          ...{ CNI_COMMAND: verb, CNI_CONTAINERID: 'trial', CNI_NETNS: '/container', CNI_IFNAME: 'eth0' },
          ...{ CNI_PATH: '/nowhere' },
        },
      },
      on: { value: () => process_ },
      exit: {
        value: (status) =>
          status === 0 ? resolve(printed) : reject(new Error(`the trial of ${type} ${verb}: ${printed}`)),
      },
    })
    const { loadBindingBy, plugins, runExecutable } = make((id) => fakes[id] ?? require(id), process_)
    loadBindingBy(() => kernel.bindingFor(conf.ipam.dataDir))
    runExecutable(plugins)
  })
}

/**
 * Runs them all.
 * @param make runs the script, with a `require` and a `process` @param dataDir a folder that is removed afterwards
 * @returns why some of them have failed
 */
const tryOut = async (make, dataDir) => {
  const modules = { fs: require('node:fs'), crypto: require('node:crypto') }
  const failures = []
  const kernel = new Kernel()
  for (const [i, network] of networks.entries()) {
    const { type } = network
    const conf = { cniVersion: '1.0.0', name: `trial-${i}`, ...network, ...ipam(dataDir) }
    let prevResult
    for (const verb of ['VERSION', 'ADD', 'CHECK', 'DEL'])
      try {
        const printed = await call({ make, modules, type, verb, conf: { ...conf, prevResult }, kernel })
        if (verb === 'ADD') prevResult = JSON.parse(printed)
      } catch (error) {
        failures.push(error.message)
      }
  }
  return failures
}

module.exports = { tryOut }
