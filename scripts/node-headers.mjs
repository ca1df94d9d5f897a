import { existsSync, realpathSync } from 'node:fs'
import { dirname, join } from 'node:path'

/**
 * The installation prefix of the Node that runs this, whose `include/node` an addon is built against. Official
 * tarballs, the npm packages `node-linux-*`, and distribution packages all put the headers there.
 */
export const headerPrefix = () => {
  const prefix = dirname(dirname(realpathSync(process.execPath)))
  if (existsSync(join(prefix, 'include/node/node_api.h'))) return prefix
  throw new Error(
    `no Node headers: ${join(prefix, 'include/node/node_api.h')} does not exist.\n` +
      `Install the headers of Node ${process.version} there: an official build from nodejs.org has them, ` +
      'distributions put them in a package like libnode-dev or nodejs-devel.',
  )
}
