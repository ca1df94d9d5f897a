import { createRequire } from 'node:module'

/** Put in by the bundler. */
declare const __LINKWRIGHT_VERSION__: string | undefined

/** The version in package.json. */
export const packageVersion = (): string =>
  typeof __LINKWRIGHT_VERSION__ === 'string'
    ? __LINKWRIGHT_VERSION__
    : (createRequire(import.meta.url)('../package.json') as { version: string }).version
