/**
 * `npm run bench`: builds, then measures in namespaces of its own, which play a host; nothing of the machine's own
 * network is touched. Needs root and a C compiler. Peers are taken from PEER_CNI_PATH (default /usr/lib/cni).
 *
 *   npm run bench -- [--only in-process,start-up,executed,daemon,host-local,chain,dhcp] [--program archive|scripts]
 *                    [--quick] [--json]
 *   npm run bench -- --table
 *
 * Prints the table; a complete run writes bench/results.json, and the tables of docs/performance.md from it.
 */
import { spawn, spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, realpathSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { root } from './root.mjs'
import { nodePackage, nodeVersion } from './sea/node-package.mjs'

const groups = ['in-process', 'start-up', 'executed', 'daemon', 'host-local', 'chain', 'dhcp']
const programs = ['archive', 'scripts']
const results = join(root, 'bench/results.json')
const usage = `usage: npm run bench -- [--only PARTS] [--program ${programs.join('|')}] [--quick] [--json]
       npm run bench -- --table

  --only     only these parts, with commas between: ${groups.join(',')}
  --program  what is executed of ours: archive, as npm run dist packs it (default); scripts, as the npm package has it
  --quick    few runs; for a first look
  --json     prints JSON in place of the table
  --table    measures nothing: writes the tables of docs/performance.md from bench/results.json

A run of all parts with the archive and without --quick writes bench/results.json, and those tables.
PEER_CNI_PATH: the folder of the reference plugins.`

/** Ends the program: 2 for wrong usage, 1 for anything else. */
class Exit extends Error {
  constructor(status, message) {
    super(message)
    this.status = status
  }
}

const readOptions = () => {
  let values
  try {
    values = parseArgs({
      options: {
        only: { type: 'string', multiple: true },
        program: { type: 'string', default: 'archive' },
        table: { type: 'boolean', default: false },
        quick: { type: 'boolean', default: false },
        json: { type: 'boolean', default: false },
        help: { type: 'boolean', default: false },
      },
    }).values
  } catch (error) {
    throw new Exit(2, `${error.message}\n${usage}`)
  }
  const only = values.only?.flatMap((text) => text.split(',')) ?? groups
  const unknown = only.find((name) => !groups.includes(name))
  if (unknown !== undefined)
    throw new Exit(2, `--only: no part is called ${JSON.stringify(unknown)}\n${usage}`)
  if (!programs.includes(values.program))
    throw new Exit(
      2,
      `--program: ${JSON.stringify(values.program)} is none of ${programs.join(', ')}\n${usage}`,
    )
  return { ...values, only: groups.filter((name) => only.includes(name)) }
}

/** Runs a program whose words go to standard error: standard output is for the table. */
const must = (file, args) => {
  const { status, signal, error } = spawnSync(file, args, { cwd: root, stdio: ['ignore', 2, 2] })
  if (error) throw new Exit(1, `${file}: ${error.message}`)
  if (status !== 0) throw new Exit(1, `${file} ${args.join(' ')}: ${signal ?? `exit ${status}`}`)
}

/** A CNI plugin says what it is when it is asked nothing. Where it does not know, Debian may. */
const introduce = (file) => {
  const ask = (program, ...args) => spawnSync(program, args, { encoding: 'utf8', env: environment() })
  const [said] = (ask(file).stderr ?? '').split('\n')
  if (said && !said.includes('unknown')) return said
  const [owner] = (ask('dpkg-query', '--search', realpathSync(file)).stdout ?? '').split(':')
  const version = owner && ask('dpkg-query', '--show', owner).stdout.trim().replace('\t', ' ')
  return version || `${said || file}, of unknown version`
}

/** The reference plugins, as the order wants them. */
const findPeers = () => {
  const folder = process.env.PEER_CNI_PATH || '/usr/lib/cni'
  const files = ['bridge', 'host-local'].map((type) => join(folder, type))
  if (!files.every((file) => existsSync(file))) return { peers: null, missing: folder, introductions: [] }
  return { peers: folder, missing: null, introductions: [...new Set(files.map(introduce))] }
}

/** Builds what is executed of ours. */
const prepare = (kind) => {
  must(process.execPath, [join(root, 'scripts/build.mjs')])
  const scripts = join(root, 'dist/cni/bin')
  if (kind === 'scripts') {
    const linkwright = join(root, 'dist/cli/linkwright.cjs')
    const program = { kind, linkwright, node: process.execPath, version: process.version }
    return { ours: scripts, scripts, program }
  }
  must(process.execPath, [join(root, 'scripts/dist.mjs'), '--folder'])
  const ours = join(root, 'build/archive/bin')
  const node = join(nodePackage(process.arch), 'bin/node')
  const program = { kind, linkwright: join(ours, 'linkwright'), node, version: `v${nodeVersion}` }
  return { ours, scripts, program }
}

const compile = (name, folder, ...flags) => {
  const program = join(folder, name)
  must('cc', ['-std=c17', '-O2', '-Wall', '-Wextra', ...flags, '-o', program, join(root, `bench/${name}.c`)])
  return program
}

/** Node 20 does not run TypeScript. The bench has the sources in it, as they are now. */
const bundle = async (folder) => {
  const { build } = await import('esbuild')
  const outfile = join(folder, 'bench.cjs')
  await build({
    absWorkingDir: root,
    entryPoints: ['bench/main.ts'],
    outfile,
    bundle: true,
    platform: 'node',
    target: 'node20.19',
    format: 'cjs',
    define: {
      'import.meta.url': '__importMetaUrl',
      __LINKWRIGHT_ADDON__: JSON.stringify(join(root, 'build/Release/linkwright.node')),
    },
    banner: { js: `const __importMetaUrl=require('node:url').pathToFileURL(__filename).href` },
    logLevel: 'warning',
  })
  return outfile
}

/** A host in miniature; what follows becomes the script's arguments. /sys shows the namespace it was mounted in. */
const host = `
mount -t sysfs sysfs /sys
mount -t tmpfs -o mode=755 tmpfs /run
mount -t tmpfs -o mode=755 tmpfs /var/lib
ip link set lo up
exec "$@"`

/** What is measured must not depend on a developer's shell; NODE_EXTRA_CA_CERTS alone costs 37 ms a start. */
const environment = () => {
  const unwanted = /^(NODE_|npm_|LINKWRIGHT_|CNI_)/
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !unwanted.test(name)))
}

/** Writes the tables of docs/performance.md from bench/results.json. */
const refresh = (program) =>
  must(process.execPath, [program, JSON.stringify({ page: join(root, 'docs/performance.md'), results })])

const measure = (program, order) =>
  new Promise((resolve, reject) => {
    const script = ['sh', '-ec', host, 'sh', process.execPath, program, JSON.stringify(order)]
    const child = spawn('unshare', ['--net', '--mount', '--propagation', 'private', '--', ...script], {
      stdio: ['ignore', 'inherit', 'inherit'],
      env: environment(),
    })
    // Its namespaces end with it, and so do the programs that it has started.
    const stop = () => child.kill('SIGKILL')
    for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(name, stop)
    child.on('error', (error) => reject(new Exit(1, `unshare: ${error.message}`)))
    child.on('close', (status, signal) => {
      for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.off(name, stop)
      if (status === 0) resolve()
      else reject(new Exit(1, `the bench ended with ${signal ?? `exit ${status}`}`))
    })
  })

/** Builds, measures, and writes down what a complete run has found. */
const run = async ({ program, quick, only, json }, folder) => {
  const isComplete = !quick && program === 'archive' && only.length === groups.length
  const executables = prepare(program)
  const bench = await bundle(folder)
  const scratch = join(folder, 'scratch')
  mkdirSync(scratch)
  await measure(bench, {
    scratch,
    floor: compile('floor', folder),
    launch: compile('launch', folder),
    nothing: compile('nothing', folder, '-static'),
    ...executables,
    ...findPeers(),
    quick,
    only,
    json,
    results: isComplete ? results : null,
  })
  if (isComplete) refresh(bench)
}

const main = async () => {
  const options = readOptions()
  if (options.help) {
    console.log(usage)
    return
  }
  if (!options.table && process.geteuid?.() !== 0)
    throw new Exit(1, 'npm run bench makes network namespaces and needs root')
  const folder = mkdtempSync(join(tmpdir(), 'linkwright-bench-'))
  try {
    if (options.table) refresh(await bundle(folder))
    else await run(options, folder)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

try {
  await main()
} catch (error) {
  if (!(error instanceof Exit)) throw error
  console.error(error.message)
  process.exitCode = error.status
}
