/**
 * Runs every test (`npm test`), from a fresh clone too: installs node_modules and the Debian packages that the tests
 * use, builds, and ends with a line `N passed, N failed`; exit 0 only where none failed. What can't run here (no root,
 * no apt-get, no Go for plugins to compare with) is left out, and a line says so.
 *
 *   npm test                    everything
 *   npm test -- unit kernel     these groups: types lint unit kernel conformance served e2e stock-kernel
 */
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { ensureDependencies } from './dependencies.mjs'
import { root } from './root.mjs'
import { nodePackage } from './sea/node-package.mjs'
import { ensureGoPlugins } from './testing/go-plugins.mjs'
import { groups } from './testing/groups.mjs'
import { differences, machineState } from './testing/machine.mjs'
import { ensurePackages } from './testing/packages.mjs'

const heading = (text) => console.log(`\n=== ${text}`)

const chosen = () => {
  const names = Object.keys(groups)
  const asked = process.argv.slice(2)
  const unknown = asked.filter((name) => !names.includes(name))
  if (unknown.length > 0) {
    console.error(`no such group: ${unknown.join(', ')}. There are: ${names.join(' ')}`)
    process.exit(2)
  }
  return asked.length > 0 ? names.filter((name) => asked.includes(name)) : names
}

/** Which of the groups can run here, and why the others can't. */
const sortOut = (names) => {
  const isRoot = process.getuid() === 0
  const leftOut = new Map(
    names.filter((name) => groups[name].root && !isRoot).map((name) => [name, 'needs root, for namespaces']),
  )
  const packages = ensurePackages(names.filter((name) => !leftOut.has(name)))
  for (const [name, reason] of packages.leftOut) leftOut.set(name, reason)
  return { leftOut, failed: packages.failed }
}

const build = () => {
  heading('build')
  const { status } = spawnSync(process.execPath, [join(root, 'scripts/build.mjs')], { stdio: 'inherit' })
  return status === 0
}

/** The npm package, installed into an empty project in `folder`. */
const packageFor = (folder) => {
  heading('npm package')
  const { status } = spawnSync(process.execPath, [join(root, 'scripts/testing/package.mjs'), folder], {
    stdio: 'inherit',
  })
  process.env.LINKWRIGHT_TEST_PACKAGE = folder
  return status === 0
}

const main = async (packed) => {
  const names = chosen()
  const start = performance.now()
  const before = machineState()
  const rows = []
  const problems = []
  ensureDependencies()
  const { leftOut, failed } = sortOut(names)
  if (failed) problems.push('the packages that the tests use could not be installed')
  if (!build()) problems.push('the build failed')
  const running = names.filter((name) => !leftOut.has(name))
  // After the build, which may begin with an empty folder of its own.
  const compared = await ensureGoPlugins(running)
  // These tests have no network.
  if (running.includes('e2e')) {
    nodePackage(process.arch)
    if (!packageFor(packed)) problems.push('the npm package could not be made')
  }
  for (const name of running) {
    heading(name)
    const began = performance.now()
    const result = await groups[name].run()
    rows.push({ name, seconds: (performance.now() - began) / 1000, ...result })
  }
  for (const line of differences(before, machineState())) problems.push(`the machine has changed: ${line}`)

  heading('summary')
  let passed = 0
  let failures = problems.length
  for (const row of rows) {
    passed += row.passed
    failures += row.failed + row.problems.length
    const skipped = row.skipped.length > 0 ? `, ${row.skipped.length} skipped` : ''
    console.log(
      `${row.name.padEnd(14)}${row.passed} passed, ${row.failed + row.problems.length} failed${skipped} (${row.seconds.toFixed(1)} s)`,
    )
    for (const skippedTest of row.skipped) console.log(`  skipped: ${skippedTest}`)
    if (compared.has(row.name)) console.log(`  ${compared.get(row.name)}`)
    for (const problem of row.problems) console.log(`  ${problem}`)
  }
  for (const [name, reason] of leftOut) console.log(`${name.padEnd(14)}left out: ${reason}`)
  for (const problem of problems) console.log(problem)
  console.log(`${((performance.now() - start) / 60_000).toFixed(1)} minutes`)
  console.log(`${passed} passed, ${failures} failed`)
  process.exitCode = failures === 0 ? 0 : 1
}

const packed = mkdtempSync(join(tmpdir(), 'linkwright-packed-'))
try {
  await main(packed)
} catch (error) {
  console.error(error)
  console.log('0 passed, 1 failed')
  process.exitCode = 1
} finally {
  rmSync(packed, { recursive: true, force: true })
}
