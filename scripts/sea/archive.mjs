import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { closeSync, openSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { basename, dirname } from 'node:path'
import { root } from '../root.mjs'

/**
 * Seconds since 1970 that every file of the archive gets: SOURCE_DATE_EPOCH where it is set, else the last commit's.
 * https://reproducible-builds.org/specs/source-date-epoch/
 */
export const sourceDate = () => {
  const given = process.env.SOURCE_DATE_EPOCH
  if (given !== undefined && !/^\d{1,11}$/.test(given))
    throw new Error(`SOURCE_DATE_EPOCH is no number of seconds: ${JSON.stringify(given)}`)
  if (given !== undefined) return Number(given)
  const { status, stdout } = spawnSync('git', ['log', '-1', '--format=%ct'], { cwd: root, encoding: 'utf8' })
  if (status !== 0) throw new Error('no git history to take the date from: set SOURCE_DATE_EPOCH')
  return Number(stdout)
}

const must = (file, args, options) => {
  const { status, signal, error, stderr } = spawnSync(file, args, { encoding: 'utf8', ...options })
  if (error?.code === 'ENOENT') throw new Error(`${file} is missing`)
  if (error) throw error
  if (status !== 0) throw new Error(`${file} failed (${signal ?? `exit ${status}`}):\n${stderr}`)
}

/**
 * Packs a folder as `path` (.tar.xz) with its SHA-256 beside it, byte by byte the same for the same content: entries by
 * name, nobody's user and group, one date. xz cuts its input into blocks of a fixed size and works with two threads,
 * however many processors there are.
 * @param level of xz, 0 to 9 @returns the SHA-256
 */
export const archive = (folder, path, date, level) => {
  const draft = `${path}.${process.pid}`
  const tar = `${draft}.tar`
  try {
    const owner = ['--owner=0', '--group=0', '--numeric-owner', '--format=ustar']
    must(
      'tar',
      ['--create', `--file=${tar}`, '--sort=name', `--mtime=@${date}`, ...owner, basename(folder)],
      {
        cwd: dirname(folder),
      },
    )
    const output = openSync(draft, 'w', 0o644)
    try {
      must('xz', [`-${level}`, '--threads=2', '--block-size=16MiB', '--check=crc64', '--stdout', tar], {
        stdio: ['ignore', output, 'pipe'],
        // XZ_DEFAULTS and XZ_OPT would change the bytes.
        env: { PATH: process.env.PATH },
      })
    } finally {
      closeSync(output)
    }
    renameSync(draft, path)
  } finally {
    rmSync(tar, { force: true })
    rmSync(draft, { force: true })
  }
  const hash = createHash('sha256').update(readFileSync(path)).digest('hex')
  writeFileSync(`${path}.sha256`, `${hash}  ${basename(path)}\n`)
  return hash
}
