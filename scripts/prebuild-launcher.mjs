import { mkdirSync, readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { root } from './root.mjs'

const folder = join(root, 'native/launcher')
/** What comes before the stack protector. */
const START = 'start.cc'

/** What clang and its linker call a processor. */
const names = {
  x64: { target: 'x86_64-linux-gnu.2.28', emulation: 'elf_x86_64' },
  arm64: { target: 'aarch64-linux-gnu.2.28', emulation: 'aarch64linux' },
}

/** As native/launcher/CMakeLists.txt has them for a launcher without a C library, of which only headers are used. */
const flags = [
  ...['-std=gnu++20', '-Os', '-DNDEBUG', '-w', `-ffile-prefix-map=${root}=.`],
  ...['-ffreestanding', '-fPIE', '-fno-exceptions', '-fno-rtti', '-fno-asynchronous-unwind-tables'],
  ...['-fvisibility=hidden', '-fvisibility-inlines-hidden', '-fno-jump-tables', '-fno-sanitize=undefined'],
]
const protector = ['-fstack-protector-strong', '-mstack-protector-guard=global']

/**
 * Builds the launcher for a processor with zig's clang, the same bytes on every machine. The linker is called by itself:
 * zig would make a C library for it.
 * @param run runs a program in a folder
 */
export const prebuildLauncher = async ({ zig, arch, work, to, env, run }) => {
  const { target, emulation } = names[arch]
  rmSync(work, { recursive: true, force: true })
  mkdirSync(work, { recursive: true })
  const compile = (sources, ...more) =>
    run(zig, ['c++', '-target', target, ...flags, ...more, '-c', ...sources], { cwd: work, env })
  const sources = readdirSync(folder).filter((name) => name.endsWith('.cc') && name !== START)
  await compile(
    sources.sort().map((name) => join(folder, name)),
    ...protector,
  )
  await compile([join(folder, START)], '-fno-stack-protector')
  const objects = readdirSync(work).filter((name) => name.endsWith('.o'))
  const hardened = ['noexecstack', 'relro', 'now', 'text'].flatMap((word) => ['-z', word])
  await run(
    zig,
    [
      ...['ld.lld', '-m', emulation, '-static', '-pie', '--no-dynamic-linker', ...hardened],
      ...['--gc-sections', '--build-id=none', '-s', '-o', to, ...objects.sort()],
    ],
    { cwd: work, env },
  )
}
