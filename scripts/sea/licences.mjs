import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { root } from '../root.mjs'
import { nodePackage, nodeVersion } from './node-package.mjs'

/** Writes the licence of everything that is in the executable: one file a work, named by it and its version. */
export const writeLicences = (folder, arch, packages) => {
  mkdirSync(folder, { recursive: true })
  const write = (name, text) => writeFileSync(join(folder, `${name.replaceAll('/', '+')}.txt`), text)
  // Node's own file has those of everything that Node is made of.
  write(`node-${nodeVersion}`, readFileSync(join(nodePackage(arch), 'LICENSE')))
  for (const path of [...packages, 'node_modules/node-addon-api']) {
    const { name, version, license } = JSON.parse(readFileSync(join(root, path, 'package.json'), 'utf8'))
    const file = readdirSync(join(root, path)).find((entry) => /^licen[cs]e(\.(md|txt))?$/i.test(entry))
    if (!file || !existsSync(join(root, path, file)))
      throw new Error(`${basename(path)} has no licence file: ${license ?? 'nothing'} is what it says`)
    write(`${name}-${version}`, readFileSync(join(root, path, file)))
  }
}
