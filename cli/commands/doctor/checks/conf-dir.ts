/** Which network a runtime takes, and whether its configuration can be read. */
import { chained } from '../../../conf-check.ts'
import type { ConfDirFacts, ConfFile } from '../facts/conf-dir.ts'
import { count, type Finding, failure, ok, type Seen, unseen, warning } from '../finding.ts'

const checkFirst = ({ directory, isNoFolder, files }: ConfDirFacts): Finding => {
  const id = 'conf.first'
  const [first, ...others] = files
  if (isNoFolder)
    return failure(id, `${directory} is no folder`, {
      advice:
        'a runtime can not look for networks there: put a folder in its place, or name another with --conf-dir',
      facts: { directory },
    })
  if (!first)
    return warning(id, `there is no configuration in ${directory}`, {
      advice: 'a runtime finds no network: put a .conflist there, or name another directory with --conf-dir',
      facts: { directory },
    })
  const facts = { directory, file: first.file, network: first.network?.name ?? null, others: others.length }
  const rest = others.length > 0 ? `, before ${count(others.length, 'other file')}` : ''
  if (first.network && !first.misnamed)
    return ok(id, `runtimes take ${first.file}${rest}: network ${first.network.name}`, { facts })
  if (first.forbidden) return unseen(id, `${first.file}${rest}`, 'permission denied')
  const why = first.network ? 'which containerd reads no list from' : 'which is broken'
  return failure(id, `runtimes take ${first.file}${rest}, ${why}`, {
    advice: 'containerd then has no network at all: mend it, or take it out of the directory',
    facts,
  })
}

/** @param isFirst whether it is the one that runtimes take: where another one is broken, no ADD of theirs fails */
const checkFile = (
  { file, network, problem, forbidden, misnamed }: ConfFile,
  isFirst: boolean,
): readonly Finding[] => {
  const id = `conf.file.${file}`
  if (forbidden) return [unseen(id, file, 'permission denied')]
  if (!network)
    return [
      (isFirst ? failure : warning)(id, `${file}: ${problem?.msg}`, {
        advice: problem?.details ?? 'mend it, or take it out of the directory',
        facts: { file },
      }),
    ]
  const [first] = network.plugins
  const facts = { file, network: network.name, plugins: network.plugins.map(({ type }) => type) }
  const wrong: Finding[] = network.plugins.flatMap(({ type, problem }, i) =>
    problem
      ? [
          failure(`conf.plugin.${network.name}.${i}`, `${file}: ${type}: ${problem.msg}`, {
            advice: problem.details ?? `linkwright schema ${type} tells what it takes`,
            facts: { ...facts, plugin: i, type },
          }),
        ]
      : [],
  )
  if (first && chained.has(first.type))
    wrong.push(
      failure(
        `conf.chain.${network.name}`,
        `${file}: ${first.type} comes first, but works on what another plugin has made`,
        {
          advice: 'put it behind the plugin that makes the interface',
          facts,
        },
      ),
    )
  if (misnamed)
    wrong.push(
      warning(`conf.name.${file}`, `${file} holds a list, but its name does not end in .conflist`, {
        advice: 'containerd and libcni read a single plugin from it, and fail: rename it',
        facts,
      }),
    )
  return wrong.length > 0
    ? wrong
    : [ok(id, `${file}: network ${network.name}: ${facts.plugins.join(', ')}`, { facts })]
}

const checkNames = (files: readonly ConfFile[]): readonly Finding[] => {
  const byName = new Map<string, string[]>()
  for (const { file, network } of files)
    if (network) byName.set(network.name, [...(byName.get(network.name) ?? []), file])
  return [...byName].flatMap(([name, files]) =>
    files.length > 1
      ? [
          warning(
            `conf.duplicate.${name}`,
            `the network ${name} is in ${count(files.length, 'file')}: ${files.join(', ')}`,
            {
              advice: 'which of them is meant depends on who asks: give each a name of its own',
              facts: { network: name, files },
            },
          ),
        ]
      : [],
  )
}

/** @param only the names of the networks that are asked for; none: all */
export const checkConfDir = (
  conf: Seen<ConfDirFacts>,
  directory: string,
  only: readonly string[],
): readonly Finding[] => {
  if (!conf.seen) return [unseen('conf.first', directory, conf.why)]
  const { files, more } = conf.value
  const asked = (file: ConfFile): boolean =>
    only.length === 0 || (file.network !== null && only.includes(file.network.name))
  const known = new Set(files.map(({ network }) => network?.name))
  return [
    checkFirst(conf.value),
    ...files.filter(asked).flatMap((file) => checkFile(file, file === files[0])),
    ...checkNames(files.filter(asked)),
    ...only
      .filter((name) => !known.has(name))
      .map((name) =>
        failure(`conf.missing.${name}`, `there is no network ${name} in ${directory}`, {
          advice: files.some(({ network }) => !network)
            ? 'it may be in one of the files that are broken'
            : 'look at the names in the files, or name another directory with --conf-dir',
        }),
      ),
    ...(more > 0 ? [warning('conf.many', `${count(more, 'file')} more were not read`)] : []),
  ]
}
