/** gc: what attachments have left behind goes, in networks of any version of the spec. */
import { defaultCacheDir, listCache, mayBeOf } from '../../cni/cache.ts'
import type { NetworkConf } from '../../cni/conflist.ts'
import { CniError, codes } from '../../cni/error.ts'
import type { AttachmentId } from '../../cni/types.ts'
import { defineCommand, type Output, UsageError } from '../command.ts'
import { namespacePathOf, namespaceState } from '../namespace-state.ts'
import { common, loadNetwork, positionalHelp, run } from './network.ts'

const parseAttachment = (text: string): AttachmentId => {
  const [containerId = '', ifName = '', ...rest] = text.split('/')
  if (containerId === '' || ifName === '' || rest.length > 0)
    throw new UsageError(`--keep ${text}: expected CONTAINERID/IFNAME`)
  return { containerId, ifName }
}

/**
 * The cached attachments whose containers are there, or may be.
 * @throws CniError code 5 where the cache does not tell all of them: GC would take what runs for something left behind
 */
const liveOf = ({ name }: NetworkConf, cacheDir: string, { err }: Output): AttachmentId[] => {
  const { entries, unreadable } = listCache(cacheDir)
  const hidden = unreadable.filter((file) => mayBeOf(name, file))
  if (hidden.length > 0)
    throw new CniError({
      code: codes.io,
      msg: `what --keep-live has to keep is not known: ${hidden.map(({ path, why }) => `${path}: ${why}`).join('; ')}`,
      details:
        'nothing was removed: remove a file whose container is gone, or name what stays with --keep alone',
    })
  return entries.filter((entry) => {
    if (entry.network !== name) return false
    const path = namespacePathOf(entry)
    const state = namespaceState(path)
    if (state === 'unknown')
      err(
        `linkwright: ${entry.containerId}/${entry.ifName} stays: ${path === '' ? 'the cache does not tell its namespace' : `its namespace ${path} can not be opened`}\n`,
      )
    return state !== 'gone'
  })
}

export const gc = defineCommand({
  name: 'gc',
  summary: 'remove attachments that are no longer wanted, with everything that belongs to them',
  positionals: 'NETWORK [NETNS]',
  description: `${positionalHelp}

Say which attachments stay: by name, by whether their namespace is still there, or none. Of those that do not, each that
the cache knows is deleted; then each plugin removes what else it finds that belongs to none that stays. Plugins of
other makers do that only in a configuration of version 1.1.0 or newer, which is the first that has GC.`,
  options: {
    keep: {
      type: 'string',
      multiple: true,
      value: 'CONTAINERID/IFNAME',
      help: 'an attachment that stays; may be repeated',
    },
    'keep-live': { type: 'boolean', help: 'every cached attachment stays whose namespace is still there' },
    all: { type: 'boolean', help: 'nothing stays' },
    ...common,
  },
  run: (values, [network = ''], output) => {
    const keep = (values.keep ?? []).map(parseAttachment)
    const live = values['keep-live'] ?? false
    if (values.all ? keep.length > 0 || live : keep.length === 0 && !live)
      throw new UsageError('say what stays: --keep or --keep-live, or --all for nothing')
    return run(values, output, () => {
      const loaded = loadNetwork(network)
      if (loaded.disableGC)
        output.err(`linkwright: nothing is removed: the configuration of ${loaded.name} says disableGC\n`)
      const cached =
        live && !loaded.disableGC ? liveOf(loaded, values['cache-dir'] ?? defaultCacheDir, output) : []
      const valid = [...keep, ...cached].map(({ containerId, ifName }) => ({ containerId, ifName }))
      return { verb: 'GC', network: loaded, valid, anyVersion: true }
    })
  },
})
