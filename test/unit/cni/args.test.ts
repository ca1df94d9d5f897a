import { describe, expect, it } from 'vitest'
import { CniArgs } from '../../../cni/args.ts'

const pick = (text: string, strict = true) => new CniArgs(text, strict).pick(['MAC', 'IP'])

describe('CNI_ARGS', () => {
  it.each([
    ['', {}],
    ['MAC=02:00:00:00:00:01', { MAC: '02:00:00:00:00:01' }],
    ['IP=10.0.0.1;MAC=x', { IP: '10.0.0.1', MAC: 'x' }],
    ['IP=a;IP=b', { IP: 'b' }],
    ['IP=', { IP: '' }],
    ['IgnoreUnknown=1;K8S_POD_NAME=a;IP=b', { IP: 'b' }],
    ['K8S_POD_NAME=a;IgnoreUnknown=TRUE', {}],
    ['IgnoreUnknown=0', {}],
  ])('%j', (text, expected) => {
    expect(pick(text)).toEqual(expected)
  })

  it.each([
    ['IP', 'ARGS: invalid pair "IP"'],
    ['IP=1;', 'ARGS: invalid pair ""'],
    [';', 'ARGS: invalid pair ""'],
    ['IP=a=b', 'ARGS: invalid pair "IP=a=b"'],
    ['mac=x', 'ARGS: unknown args ["mac=x"]'],
    ['A=1;IP=x;B=2', 'ARGS: unknown args ["A=1" "B=2"]'],
    ['A=1;IgnoreUnknown=false', 'ARGS: unknown args ["A=1"]'],
    ['ignoreunknown=1;A=1', 'ARGS: unknown args ["ignoreunknown=1" "A=1"]'],
    [
      'IgnoreUnknown=Yes',
      'ARGS: error parsing value of pair "IgnoreUnknown=Yes": boolean unmarshal error: invalid input yes',
    ],
  ])('%j is refused on ADD and passed over on DEL', (text, msg) => {
    expect(() => pick(text)).toThrow(expect.objectContaining({ code: 4, msg }))
    expect(() => pick(text, false)).not.toThrow()
  })

  it('finds on DEL what can be found', () => {
    expect(pick('x;IP=10.0.0.1;K=v', false)).toEqual({ IP: '10.0.0.1' })
  })
})
