/** Whether what is installed is whole, and is what runtimes find. */
import type { BinaryFacts } from '../facts/binaries.ts'
import type { InstallationFacts } from '../facts/installation.ts'
import { type Finding, failure, ok, type Seen, unseen, warning } from '../finding.ts'
import { MEND } from './binaries.ts'

const ID = 'binary.installation'

const checkWhole = ({ lib, current, launcher, standalone, changes }: InstallationFacts): Finding => {
  const facts = { lib, current, launcher, standalone }
  if (!launcher || !standalone) {
    const what = current === null ? 'no release is chosen' : 'its launcher or its program is missing'
    return warning(ID, `the installation in ${lib} is broken: ${what}`, {
      advice: 'linkwright install makes it whole again',
      facts,
    })
  }
  if (changes === null || (!changes.version && changes.types.length === 0))
    return ok(ID, `${current} is installed, and whole`, { facts })
  const what = changes.version ? '' : `: ${changes.types.join(', ')}`
  return failure(ID, `${current} is not what was installed${what}`, {
    advice: MEND,
    facts: { ...facts, changed: changes.types },
  })
}

/** Executables of ours that belong to another installation. */
const checkElsewhere = ({ lib }: InstallationFacts, binaries: readonly BinaryFacts[]): readonly Finding[] => {
  const others = binaries.flatMap(({ type, file }) =>
    file.state === 'there' && file.maker === 'linkwright' && !file.real.startsWith(`${lib}/`)
      ? [{ type, real: file.real }]
      : [],
  )
  if (others.length === 0) return []
  return [
    warning(
      'binary.elsewhere',
      `not of the installation in ${lib}: ${others.map(({ type }) => type).join(', ')}`,
      {
        advice: 'linkwright install takes their places, or name theirs with --prefix',
        facts: { lib, others },
      },
    ),
  ]
}

export const checkInstallation = (
  installation: Seen<InstallationFacts | null>,
  binaries: readonly BinaryFacts[],
): readonly Finding[] => {
  if (!installation.seen) return [unseen(ID, 'the installation', installation.why)]
  const { value } = installation
  return value ? [checkWhole(value), ...checkElsewhere(value, binaries)] : []
}
