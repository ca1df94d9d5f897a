import { describe, expect, test } from 'vitest'
import { Reader } from '../../../netlink/codec/reader.ts'
import { Writer } from '../../../netlink/codec/writer.ts'
import { ruleLayout, setLayout } from '../../../netlink/nftables/attributes.ts'
import { type Expression, expressionList } from '../../../netlink/nftables/expressions.ts'
import { addRule, sameExpressions } from '../../../netlink/nftables/index.ts'
import { expressionsOf } from '../../../netlink/nftables/rules/context.ts'
import { messagesOf, type Sent, sent } from './bytes.ts'
import { bridgeLines, lines } from './lines.ts'

const NEWSET = 9
const NEWRULE = 6
const ref = { table: 't', chain: 'c' } as const

const reader = ({ payload }: Sent): Reader => new Reader(Buffer.from(payload, 'hex'))
const ruleIn = (messages: readonly Sent[]): Sent => messages.find(({ type }) => type === NEWRULE)!
const expressionsIn = (message: Sent): readonly Expression[] =>
  ruleLayout.attributes.readFrom(reader(message), 4).expressions!
/** The numbers of sets count on in nft, and it sends them for sets with names too. */
const withoutIds = (expressions: readonly Expression[]) =>
  expressions.map((expression) =>
    expression.kind === 'lookup'
      ? { ...expression, data: { ...expression.data, setId: undefined } }
      : expression,
  )

describe.each([...lines, ...bridgeLines].map((line) => [`${line.family} ${line.line}`, line] as const))(
  '%s',
  (name, line) => {
    const theirs = sent('rules', name)
    const hasLookup = expressionsIn(ruleIn(theirs)).some(({ kind }) => kind === 'lookup')

    test('is written as nft writes it', () => {
      const ours = messagesOf(addRule({ ...ref, family: line.family, rule: line.parts }))
      expect(ours.map(({ type, flags }) => [type, flags])).toEqual(
        theirs.map(({ type, flags }) => [type, flags]),
      )
      if (hasLookup)
        expect(withoutIds(expressionsIn(ruleIn(ours)))).toEqual(withoutIds(expressionsIn(ruleIn(theirs))))
      else expect(ours).toEqual(theirs)
      // nft also remembers which field a set was made for, and numbers the elements: nobody reads either.
      for (const [i, message] of ours.entries()) {
        if (message.type !== NEWSET) continue
        const [made, meant] = [message, theirs[i]!].map((set) =>
          setLayout.attributes.readFrom(reader(set), 4),
        )
        expect({ ...made, userdata: undefined, id: undefined }).toEqual({
          ...meant,
          userdata: undefined,
          id: undefined,
        })
      }
    })

    test('is read and written back the same', () => {
      const rule = ruleIn(theirs)
      const expressions = expressionsIn(rule)
      if (!hasLookup) expect(sameExpressions(expressionsOf(line.family, line.parts), expressions)).toBe(true)
      const writer = new Writer()
      expressionList.write(writer, expressions)
      expect(rule.payload).toContain(Buffer.from(writer.finish()).toString('hex'))
    })
  },
)
