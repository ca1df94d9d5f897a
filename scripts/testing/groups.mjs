import { spawn } from 'node:child_process'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { root } from '../root.mjs'

/** How a group of tests came out. `problems` are sentences for what is no test's own failure; each counts as one. */
const outcome = (passed, failed, skipped = [], problems = []) => ({ passed, failed, skipped, problems })

/** Runs a command with its output on ours; SIGTERM, then SIGKILL when it overstays. @returns what went wrong, or null */
const run = (file, args, { minutes, env = {} }) =>
  new Promise((resolve) => {
    const child = spawn(file, args, {
      cwd: root,
      stdio: ['ignore', 'inherit', 'inherit'],
      env: { ...process.env, ...env },
    })
    let late = false
    const timer = setTimeout(() => {
      late = true
      child.kill('SIGTERM')
      setTimeout(() => child.kill('SIGKILL'), 10_000).unref()
    }, minutes * 60_000)
    child.on('error', (error) => resolve(error.message))
    child.on('close', (status, signal) => {
      clearTimeout(timer)
      if (late) resolve(`not over after ${minutes} minutes`)
      else if (status !== 0) resolve(signal ?? `exit ${status}`)
      else resolve(null)
    })
  })

/** One command that counts as one test. */
const single = (file, args, minutes) => async () => {
  const problem = await run(file, args, { minutes })
  return problem === null ? outcome(1, 0) : outcome(0, 1)
}

/** Vitest's JSON report, counted. A file that could not even be loaded is a failure without a test. */
const count = (path) => {
  if (!existsSync(path)) return outcome(0, 0, [], ['the runner wrote no report'])
  const report = JSON.parse(readFileSync(path, 'utf8'))
  const tests = report.testResults.flatMap((file) => file.assertionResults)
  const of = (...states) => tests.filter(({ status }) => states.includes(status))
  const problems = report.testResults
    .filter((file) => file.status === 'failed' && !file.assertionResults.some((t) => t.status === 'failed'))
    .map((file) => `${file.name}: ${file.message || 'failed outside of its tests'}`)
  if (tests.length === 0) problems.push('there was no test')
  for (const { fullName, failureMessages } of of('passed').filter((test) => test.failureMessages.length > 0))
    console.log(`passed at the second try: ${fullName}: ${failureMessages[0].split('\n')[0]}`)
  return outcome(
    of('passed').length,
    of('failed').length,
    of('skipped', 'pending', 'todo', 'disabled').map(({ fullName }) => fullName),
    problems,
  )
}

const vitest = (project, report, ...more) => [
  join(root, 'node_modules/vitest/vitest.mjs'),
  ...['run', '--project', project, '--reporter=default', '--reporter=json', `--outputFile.json=${report}`],
  ...more,
]

/**
 * A vitest project.
 * @param how what its command becomes (in a virtual machine, in namespaces), given the folder for reports
 */
const project =
  (name, minutes, how, ...more) =>
  async () => {
    const folder = mkdtempSync(join(tmpdir(), `linkwright-${name}-`))
    const temporary = mkdtempSync(join(tmpdir(), `linkwright-${name}-`))
    try {
      const report = join(folder, 'vitest.json')
      const [file, args] = how(folder, [process.execPath, ...vitest(name, report, ...more)])
      const problem = await run(file, args, { minutes, env: { TMPDIR: temporary } })
      const counted = count(report)
      if (problem !== null && counted.failed + counted.problems.length === 0) counted.problems.push(problem)
      const isolation = join(folder, 'isolation.json')
      if (existsSync(isolation))
        for (const left of JSON.parse(readFileSync(isolation, 'utf8')).leftovers)
          counted.problems.push(`left behind: ${left}`)
      // Node and vitest keep compiled code there.
      for (const left of readdirSync(temporary).filter((file) => file !== 'node-compile-cache'))
        counted.problems.push(`left behind: + temporary file: ${left}`)
      return counted
    } finally {
      rmSync(folder, { recursive: true, force: true })
      rmSync(temporary, { recursive: true, force: true })
    }
  }

/** Modules as vitest has transformed them: an emulated processor takes four times as long for it as for the tests. */
const moduleCache = '--experimental.fsModuleCache'
const transformed = (name, group) => async () => {
  const args = [join(root, 'node_modules/vitest/vitest.mjs'), 'list', '--project', name, moduleCache]
  const problem = await run(process.execPath, args, { minutes: 5 })
  const result = await group()
  return problem === null ? result : { ...result, problems: [...result.problems, `vitest list: ${problem}`] }
}

const directly = (_folder, [file, ...args]) => [file, args]
const isolated = (folder, command) => [
  process.execPath,
  [join(root, 'scripts/testing/isolated.mjs'), join(folder, 'isolation.json'), ...command],
]
const inMachine = (folder, command) => [join(root, 'scripts/vm'), ['--keep', folder, '--', ...command]]

const tool = (name, script) => join(root, 'node_modules', name, script)

/** The groups in the order in which they run. `root`: they need it. */
export const groups = {
  types: { run: single(process.execPath, [tool('typescript', 'bin/tsc'), '--noEmit', '-p', '.'], 5) },
  lint: {
    run: single(
      process.execPath,
      [tool('@biomejs/biome', 'bin/biome'), 'check', '--error-on-warnings', '.'],
      5,
    ),
  },
  unit: { run: project('unit', 10, directly) },
  kernel: { root: true, run: project('kernel', 20, isolated) },
  conformance: { root: true, run: project('conformance', 15, isolated) },
  // The same with the daemon doing the work: see test/support/served.ts.
  served: {
    root: true,
    run: project(
      'conformance',
      15,
      (folder, command) => isolated(folder, ['env', 'LINKWRIGHT_TEST_DAEMON=1', ...command]),
      ...['protocol', 'bridge', 'macvlan', 'portmap'].map((name) => `test/conformance/${name}.test.ts`),
    ),
  },
  e2e: { root: true, run: project('e2e', 10, isolated) },
  // An emulated processor: starting a worker for every file would take longer than the tests.
  'stock-kernel': {
    run: transformed(
      'stock-kernel',
      project('stock-kernel', 30, inMachine, '--no-isolate', '--maxWorkers=2', moduleCache),
    ),
  },
}
