/**
 * Builds the addon with AddressSanitizer and UndefinedBehaviorSanitizer into build/asan, runs the native and kernel
 * tests on it, and fails on any report, whatever the tests say. Installs what those tests use, where it is not there.
 *
 *   node scripts/test-asan.mjs [vitest arguments]
 */
import { spawnSync } from 'node:child_process'
import { mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { createRequire } from 'node:module'
import { delimiter, dirname, join } from 'node:path'
import { headerPrefix } from './node-headers.mjs'
import { root } from './root.mjs'
import { ensurePackages } from './testing/packages.mjs'

const build = join(root, 'build/asan')
const addon = join(build, 'RelWithDebInfo/linkwright.node')
const reports = join(build, 'reports')
const { resolve } = createRequire(import.meta.url)

const fail = (message) => {
  console.error(message)
  process.exit(1)
}

const run = (args, env) => {
  const { status, signal, error } = spawnSync(process.execPath, args, { cwd: root, env, stdio: 'inherit' })
  if (error) throw error
  return signal ?? status
}

/** Ours first on PATH, and nothing of npm's configuration: it would choose other headers. */
const environment = {
  ...Object.fromEntries(Object.entries(process.env).filter(([name]) => !/^npm_/i.test(name))),
  PATH: `${dirname(process.execPath)}${delimiter}${process.env.PATH ?? ''}`,
}

/** Where the compiler keeps a sanitizer's runtime: it must come before Node's own libraries. */
const runtime = (name) => {
  const { stdout, error } = spawnSync('c++', [`-print-file-name=${name}`], { encoding: 'utf8' })
  if (error) fail(`no C++ compiler: ${error.message}`)
  const path = stdout.trim()
  if (path === name) fail(`${name} is missing: install the compiler's sanitizer libraries`)
  return path
}

if (spawnSync('cmake', ['--version']).error) fail('cmake is missing: install it to build with sanitizers')

for (const why of ensurePackages(['kernel']).leftOut.values()) fail(why)

const cmakeJs = [resolve('cmake-js/bin/cmake-js'), 'compile', '--out', build, '--config', 'RelWithDebInfo']
// With a node directory that has headers, cmake-js downloads none.
const built = run([...cmakeJs, '--log-level', 'warn', '--CDLINKWRIGHT_SANITIZE=address,undefined'], {
  ...environment,
  npm_config_nodedir: headerPrefix(),
})
if (built !== 0) fail(`the sanitizer build failed (${built})`)

rmSync(reports, { recursive: true, force: true })
mkdirSync(reports, { recursive: true })
const tests = ['run', '--config', 'vitest.asan.config.ts', ...process.argv.slice(2)]
const tested = run([join(dirname(resolve('vitest/package.json')), 'vitest.mjs'), ...tests], {
  ...environment,
  LINKWRIGHT_ADDON: addon,
  LD_PRELOAD: `${runtime('libasan.so')} ${runtime('libubsan.so')}`,
  // Every process with a leak anywhere, and V8 has some, would exit with this code: the report counts instead.
  ASAN_OPTIONS: `exitcode=0:detect_leaks=1:log_path=${reports}/asan`,
  // These reports go to standard error and end the process with status 1, so that its test fails.
  UBSAN_OPTIONS: 'print_stacktrace=1:halt_on_error=1',
})

/**
 * What a leak must not have between the allocation and our first frame to be ours: V8 and JavaScript that we called,
 * and a promise still pending when its environment ended, which Node-API has no call to free.
 */
const notOurs = /\b(v8::internal::|Builtins_|napi_create_promise\b)/

const isOurs = (leak) => {
  const [before, ...after] = leak.split('/native/src/')
  return after.length > 0 && !notOurs.test(before)
}

/** What is wrong in a report: all of it, but of leaks only those of our own code. */
const findings = (report) => {
  const [first, ...leaks] = report.split(/^(?=(?:Direct|Indirect) leak of )/m)
  return first.includes('ERROR: LeakSanitizer') ? leaks.filter(isOurs) : [report]
}

const found = readdirSync(reports).flatMap((name) => findings(readFileSync(join(reports, name), 'utf8')))
for (const text of found) console.error(`\n${text}`)
if (found.length > 0) fail(`${found.length} findings of the sanitizers`)
if (tested !== 0) fail(`the tests failed (${tested})`)
console.log('the sanitizers found nothing')
