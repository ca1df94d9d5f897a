import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { root } from './root.mjs'

const version = '0.15.2'
/** SHA-256 of the wheels for the machines that build: x86_64 and aarch64 Linux. */
const hashes = [
  '806316453d1ede7174ed3fefb8e5348154629089c3bb5fe812dfd0e172fac130',
  'edc0aa60ec964a4cf462d40f68d7de242ddf37fd9a80f2afaee6397059463230',
]

/**
 * The compiler of the prebuilt addons: clang with the headers and link stubs of every glibc and musl. Fetched once, as
 * the Python package `ziglang` of a version and hash that are written down here, into build/zig-<version>; nothing of
 * it is run meanwhile.
 *
 * @returns the folder that has `zig` and `lib/`
 */
export const ensureZig = () => {
  const folder = join(root, `build/zig-${version}`)
  const found = join(folder, 'ziglang')
  if (existsSync(join(found, 'zig'))) return found
  console.log(`fetching zig ${version}`)
  const next = `${folder}.${process.pid}`
  mkdirSync(next, { recursive: true })
  try {
    const requirements = join(next, 'requirements.txt')
    const pinned = hashes.map((hash) => `--hash=sha256:${hash}`).join(' ')
    writeFileSync(requirements, `ziglang==${version} ${pinned}\n`)
    const { status, error, stderr } = spawnSync(
      'python3',
      [
        ...['-m', 'pip', 'install', '--quiet', '--disable-pip-version-check', '--no-compile', '--no-deps'],
        ...['--only-binary', ':all:', '--require-hashes', '--target', next, '-r', requirements],
      ],
      { cwd: next, encoding: 'utf8' },
    )
    if (error) throw new Error(`python3 with pip is needed to fetch zig: ${error.message}`)
    if (status !== 0) throw new Error(`pip could not fetch zig ${version}:\n${stderr}`)
    rmSync(folder, { recursive: true, force: true })
    renameSync(next, folder)
  } finally {
    rmSync(next, { recursive: true, force: true })
  }
  return found
}
