/** Whether a runtime finds and can execute the plugins that networks name. */
import type { BinaryFacts } from '../facts/binaries.ts'
import { count, type Finding, failure, ok, type Seen, unseen, warning } from '../finding.ts'

/** A type, and the networks that name it. */
export interface Wanted {
  readonly type: string
  /** In `type`. */
  readonly networks: readonly string[]
  /** In `ipam.type` of a plugin: executed where that is not ours, or the type itself is not. */
  readonly assigns: readonly { readonly network: string; readonly by: string }[]
  /** Whether it is one of ours. */
  readonly own: boolean
}

const makers = { linkwright: 'ours', go: "Go's", other: 'of another make' } as const

/** A command that is itself of what was changed would install that. */
export const MEND =
  'something was written over it, as cp onto a link does: linkwright install, of the package it came from, puts a whole version in its place'

const advice = {
  missing: 'install it where runtimes look for plugins: linkwright install, for those of ours',
  dangling: 'what it leads to is gone: linkwright install, or remove the link',
  'not-a-file': 'a runtime can not execute it: remove it, and install the plugin',
  'not-executable': 'chmod 0755, or install it anew',
} as const

const states = {
  dangling: 'a dangling link',
  'not-a-file': 'not a file',
  'not-executable': 'not executable',
} as const

const checkOne = (
  { type, file, version, release, standalone }: BinaryFacts,
  networks: readonly string[],
): readonly Finding[] => {
  const id = `binary.${type}`
  const forWhom = networks.length > 0 ? ` (needed by ${networks.join(', ')})` : ''
  const tell = networks.length > 0 ? failure : warning
  const base = { type, networks }
  if (file.state === 'missing') {
    const facts = { ...base, state: file.state }
    return networks.length > 0
      ? [failure(id, `${type} is missing${forWhom}`, { advice: advice.missing, facts })]
      : []
  }
  if (file.state === 'unseen') return [unseen(id, file.path, file.why)]
  if (file.state !== 'there')
    return [
      tell(id, `${file.path} is ${states[file.state]}${forWhom}`, {
        advice: advice[file.state],
        facts: { ...base, state: file.state, path: file.path },
      }),
    ]
  const { path, real, maker, changeable, changed } = file
  const facts = { ...base, path, real, maker, ...(release !== null && { release }) }
  if (changed !== null)
    return [
      failure(
        id,
        `${type} leads to what is not as it was installed, and was not executed${forWhom}: ${changed}`,
        {
          advice: MEND,
          facts: { ...facts, changed },
        },
      ),
    ]
  if (changeable !== null)
    return [
      warning(
        id,
        `${path} can be changed by others than root, and was not executed${forWhom}: ${changeable}`,
        {
          advice:
            'runtimes execute it as root: chown root and chmod go-w it, what it leads to, and the folders',
          facts,
        },
      ),
    ]
  if (standalone?.usable === null) return [unseen(id, standalone.path, 'EACCES: permission denied')]
  const wrong: Finding[] = []
  if (version && 'failed' in version)
    wrong.push(
      tell(id, `${path} does not answer VERSION${forWhom}: ${version.failed}`, {
        advice: 'CNI_COMMAND=VERSION with it by hand tells more; install it anew',
        facts,
      }),
    )
  if (standalone?.usable === false)
    wrong.push(
      tell(
        `binary.standalone.${type}`,
        `${path} has no program to start without a daemon: ${standalone.path}`,
        {
          advice: 'linkwright install puts it there',
          facts: { ...facts, standalone: standalone.path },
        },
      ),
    )
  if (wrong.length > 0) return wrong
  const versions = version && 'supported' in version ? version.supported : []
  const newest = versions.at(-1)
  return [
    ok(
      id,
      `${type} is ${makers[maker]}${release ? ` (${release})` : ''}${newest ? `, up to CNI ${newest}` : ''}`,
      {
        facts: { ...facts, versions },
      },
    ),
  ]
}

/** Networks in a version that the executable of one of their plugins does not speak. */
const checkVersions = (
  binaries: readonly BinaryFacts[],
  networks: readonly { readonly name: string; readonly version: string; readonly types: readonly string[] }[],
): readonly Finding[] =>
  networks.flatMap(({ name, version, types }) =>
    types.flatMap((type) => {
      const answer = binaries.find((one) => one.type === type)?.version
      if (!answer || !('supported' in answer) || answer.supported.includes(version)) return []
      return [
        failure(
          `binary.version.${name}.${type}`,
          `${type} does not speak CNI ${version}, which ${name} is written in`,
          {
            advice: `it speaks ${answer.supported.join(', ')}: change cniVersion, or install a newer plugin`,
            facts: { network: name, type, version, supported: answer.supported },
          },
        ),
      ]
    }),
  )

/** One release everywhere, or some calls behave otherwise. */
const checkReleases = (binaries: readonly BinaryFacts[]): readonly Finding[] => {
  const releases = [...new Set(binaries.flatMap(({ release }) => release ?? []))]
  if (releases.length < 2) return []
  return [
    warning(
      'binary.releases',
      `executables of ${count(releases.length, 'release')} are in use: ${releases.join(', ')}`,
      {
        advice: 'linkwright install makes them one',
        facts: { releases },
      },
    ),
  ]
}

/** The networks whose ADD executes it. @param ours types whose executables are ours: these call IPAM in process */
const usersOf = ({ networks, assigns, own }: Wanted, ours: ReadonlySet<string>): readonly string[] => [
  ...new Set([
    ...networks,
    ...assigns.filter(({ by }) => !(own && ours.has(by))).map(({ network }) => network),
  ]),
]

export interface CheckBinariesOptions {
  readonly directories: readonly string[]
  readonly wanted: readonly Wanted[]
  readonly networks: readonly {
    readonly name: string
    readonly version: string
    readonly types: readonly string[]
  }[]
}

export const checkBinaries = (
  binaries: Seen<readonly BinaryFacts[]>,
  { directories, wanted, networks }: CheckBinariesOptions,
): readonly Finding[] => {
  if (!binaries.seen) return [unseen('binary', directories.join(':'), binaries.why)]
  const { value } = binaries
  const ours = new Set(
    value.filter(({ file }) => file.state === 'there' && file.maker === 'linkwright').map(({ type }) => type),
  )
  const neededBy = new Map(wanted.map((one) => [one.type, usersOf(one, ours)]))
  const found = value.flatMap((one) => checkOne(one, neededBy.get(one.type) ?? []))
  const unused = value
    .filter(({ type, file }) => file.state === 'missing' && neededBy.get(type)?.length === 0)
    .map(({ type }) => type)
  return [
    ...found,
    ...(unused.length > 0
      ? [
          ok('binary.absent', `not installed, and not needed: ${unused.join(', ')}`, {
            facts: { types: unused, directories },
          }),
        ]
      : []),
    ...checkVersions(value, networks),
    ...checkReleases(value),
  ]
}
