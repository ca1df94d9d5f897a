import { expect } from 'vitest'
import {
  addChain,
  addRule,
  type BaseChain,
  type Family,
  listRules,
  sameRule,
  transaction,
} from '../../../netlink/nftables/index.ts'
import { space } from '../../support/space.ts'
import { context, type Line } from '../../unit/nftables/lines.ts'
import { connect } from './connect.ts'

const bases: Readonly<Record<Line['chain'], BaseChain>> = {
  filter: { type: 'filter', hook: 'input', priority: 0 },
  raw: { type: 'filter', hook: 'prerouting', priority: -300 },
  srcnat: { type: 'nat', hook: 'postrouting', priority: 100 },
  dnat: { type: 'nat', hook: 'prerouting', priority: -100 },
}
/** The rules of a chain as nft prints them. */
const rulesIn = (text: string): string[] =>
  text
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '' && !/^(table|chain|type|\})/.test(line))

/**
 * Adds rules in a new namespace, through nft by their lines and by us from their parts, and compares: what nft prints
 * of them, and the bytes that the kernel keeps.
 */
export const compareRules = async (family: Family, all: readonly Line[]): Promise<void> => {
  const host = await space()
  const connection = connect(host)
  const kinds = Object.keys(bases) as Line['chain'][]
  const of = (kind: Line['chain']) => all.filter((line) => line.family === family && line.chain === kind)
  const used = kinds.filter((kind) => of(kind).length > 0)
  const chainText = (kind: Line['chain']) => {
    const { type, hook, priority } = bases[kind]
    const rules = of(kind).map(({ line }) => line)
    return `chain theirs_${kind} { type ${type} hook ${hook} priority ${priority}; \n${rules.join('\n')}\n}`
  }
  await host.must('nft', ['-f', '-'], {
    input: `table ${family} t {\n${context}\n${used.map(chainText).join('\n')}\n}\n`,
  })
  for (const kind of used) {
    const chain = `ours_${kind}`
    const ref = { family, table: 't', chain }
    await transaction(connection, [
      addChain({ ...ref, base: bases[kind] }),
      ...of(kind).map(({ parts }) => addRule({ ...ref, rule: parts })),
    ])
    const [ours, theirs] = await Promise.all(
      [chain, `theirs_${kind}`].map((name) => host.must('nft', ['list', 'chain', family, 't', name])),
    )
    expect(rulesIn(ours!)).toEqual(rulesIn(theirs!))
    expect(rulesIn(ours!)).toEqual(of(kind).map(({ line }) => line))

    const listed = await connection.run(listRules(ref))
    const made = await connection.run(listRules({ ...ref, chain: `theirs_${kind}` }))
    for (const [i, { line, parts }] of of(kind).entries()) {
      // Anonymous sets have a name of their own each, which the expressions hold.
      if (line.includes('{')) continue
      expect(Buffer.from(listed[i]!.raw).toString('hex'), line).toBe(
        Buffer.from(made[i]!.raw).toString('hex'),
      )
      expect(sameRule(made[i]!, parts), line).toBe(true)
    }
  }
}
