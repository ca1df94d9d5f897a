/** Where everything goes. */

import { lstatSync } from 'node:fs'
import { dirname, join, relative, resolve } from 'node:path'

/** The static executable that every plugin is a copy of. */
export const LAUNCHER = 'linkwright-launcher'
/** What the launcher executes where no daemon answers; found beside it, or above the folder that it lies in. */
export const STANDALONE = 'linkwright-cni'
/** The command line. */
export const COMMAND = 'linkwright'

/**
 * A plugin in a version's folder. Each is a file of its own: whoever writes through a link of a runtime's folder, as cp(1)
 * does, has changed that one plugin, and not all of them.
 */
export const pluginIn = (folder: string, type: string): string => join(folder, 'bin', type)

/** A plugin's type as a file name. */
export const TYPE = /^[a-z0-9][a-z0-9-]{0,31}$/

/** Paths of one installation; all of them absolute. */
export interface Layout {
  /** Where runtimes look for plugins. */
  readonly binDir: string
  readonly prefix: string
  /** `<prefix>/lib/linkwright`: versions, manifest, what was replaced. */
  readonly lib: string
  /** A link to the folder of the version that is used. */
  readonly current: string
  readonly manifest: string
  /** Files that stood where ours are. */
  readonly replaced: string
  /** `<prefix>/bin/linkwright`. */
  readonly command: string
  /** Who can't be seen from here uses nothing of it. */
  readonly wholeNode: boolean
}

export interface LayoutOptions {
  readonly binDir: string
  readonly prefix: string
  /** Everything goes below the folder of the plugins itself: whoever sees that, sees all of it. */
  readonly copy: boolean
  /** The process namespace is all of the node, whatever else the machine runs. Default false: as far as can be seen. */
  readonly wholeNode?: boolean | undefined
}

export const layoutOf = (options: LayoutOptions): Layout => {
  const binDir = resolve(options.binDir)
  const prefix = options.copy ? join(binDir, '.linkwright') : resolve(options.prefix)
  const lib = join(prefix, 'lib/linkwright')
  return {
    binDir,
    prefix,
    lib,
    current: join(lib, 'current'),
    manifest: join(lib, 'installed.json'),
    replaced: join(lib, 'replaced'),
    command: join(prefix, 'bin', COMMAND),
    wholeNode: options.wholeNode ?? false,
  }
}

/**
 * What a link at `path` holds to lead to `target`. Relative where both are below one of `roots`, which may be mounted
 * elsewhere as a whole.
 */
export const linkText = (path: string, target: string, roots: readonly string[]): string =>
  roots.some((root) => [path, target].every((one) => one.startsWith(`${root}/`)))
    ? relative(dirname(path), target)
    : target

/** The folders on the way to `path`, itself included, that are not there yet; outermost first. */
export const missingFolders = (path: string): string[] =>
  lstatSync(path, { throwIfNoEntry: false }) || dirname(path) === path
    ? []
    : [...missingFolders(dirname(path)), path]
