import { describe, expect, it } from 'vitest'
import { parseEnvironment, toVerb } from '../../../cni/environment.ts'
import { CniError } from '../../../cni/error.ts'

const good = {
  CNI_CONTAINERID: 'cid-1',
  CNI_NETNS: '/run/netns/a',
  CNI_IFNAME: 'eth0',
  CNI_PATH: '/opt/cni/bin',
}
const parse = (more: Record<string, string | undefined>) => parseEnvironment({ ...good, ...more })
const errorOf = (more: Record<string, string | undefined>): CniError => {
  try {
    parse(more)
  } catch (error) {
    if (error instanceof CniError) return error
    throw error
  }
  throw new Error('it was accepted')
}

describe('environment', () => {
  it('is read', () => {
    expect(parse({ CNI_COMMAND: 'ADD', CNI_ARGS: 'a=b' })).toEqual({
      command: 'ADD',
      containerId: 'cid-1',
      netnsPath: '/run/netns/a',
      ifName: 'eth0',
      args: 'a=b',
      path: '/opt/cni/bin',
      netnsOverride: false,
    })
  })

  const none = { CNI_CONTAINERID: '', CNI_NETNS: '', CNI_IFNAME: undefined, CNI_PATH: undefined }
  it.each([
    ['ADD', none, 'CNI_CONTAINERID,CNI_NETNS,CNI_IFNAME,CNI_PATH'],
    ['CHECK', none, 'CNI_CONTAINERID,CNI_NETNS,CNI_IFNAME,CNI_PATH'],
    ['DEL', none, 'CNI_CONTAINERID,CNI_IFNAME,CNI_PATH'],
    ['GC', none, 'CNI_PATH'],
    ['STATUS', none, 'CNI_PATH'],
    ['ADD', { CNI_NETNS: '' }, 'CNI_NETNS'],
    ['', none, 'CNI_COMMAND'],
  ])('%s with %j misses %s', (command, more, missing) => {
    expect(errorOf({ ...more, CNI_COMMAND: command })).toMatchObject({
      code: 4,
      msg: `required env variables [${missing}] missing`,
    })
  })

  it.each(['VERSION', 'NOPE'])('%s needs nothing else', (command) => {
    expect(parse({ ...none, CNI_COMMAND: command })).toMatchObject({ command, containerId: '' })
  })

  it.each([
    ['/etc', 'invalid characters in containerID'],
    ['../x', 'invalid characters in containerID'],
    ['.x', 'invalid characters in containerID'],
    ['a b', 'invalid characters in containerID'],
    ['a\n', 'invalid characters in containerID'],
  ])('container id %j', (id, msg) => {
    for (const command of ['ADD', 'CHECK', 'DEL'])
      expect(errorOf({ CNI_COMMAND: command, CNI_CONTAINERID: id })).toMatchObject({
        code: 4,
        msg,
        details: id,
      })
    expect(parse({ CNI_COMMAND: 'GC', CNI_CONTAINERID: id }).command).toBe('GC')
  })

  it.each<[string, string, string | undefined]>([
    ['a'.repeat(16), 'interface name is too long', 'interface name should be less than 16 characters'],
    ['é'.repeat(8), 'interface name is too long', 'interface name should be less than 16 characters'],
    ['.', 'interface name is . or ..', undefined],
    ['..', 'interface name is . or ..', undefined],
    ...['a/b', 'a:b', 'a b', 'a\tb', 'a\nb', 'a\u0085b', 'a\u00a0b', 'a\u2003b', 'a\u3000b', 'a\0b'].map(
      (name): [string, string, undefined] => [
        name,
        'interface name contains / or : or whitespace characters',
        undefined,
      ],
    ),
  ])('interface name %j', (name, msg, details) => {
    expect(errorOf({ CNI_COMMAND: 'ADD', CNI_IFNAME: name })).toMatchObject({ code: 4, msg, details })
  })

  // To the kernel byte 0xa0, the last of à, is white space, and eth%d is whichever name of that kind is free.
  it.each([
    ['eth%d', "contains '%'"],
    ['100%', "contains '%'"],
    ['à', 'contains'],
  ])('interface name %j is for DEL alone: nothing can be made under it', (name, details) => {
    for (const command of ['ADD', 'CHECK'])
      expect(errorOf({ CNI_COMMAND: command, CNI_IFNAME: name })).toMatchObject({
        code: 4,
        msg: 'interface name is none that an interface can have',
        details: expect.stringContaining(details) as string,
      })
    expect(parse({ CNI_COMMAND: 'DEL', CNI_IFNAME: name }).ifName).toBe(name)
  })

  it.each(['a'.repeat(15), 'é'.repeat(7), 'eth0.100', '...', 'net\ufeff1'])(
    'interface name %j is fine',
    (name) => {
      expect(parse({ CNI_COMMAND: 'ADD', CNI_IFNAME: name }).ifName).toBe(name)
    },
  )

  it('reports what is malformed before what is missing', () => {
    expect(errorOf({ CNI_COMMAND: 'ADD', CNI_NETNS: '', CNI_IFNAME: 'a/b' }).msg).toContain('interface name')
  })

  it.each([
    ['1', true],
    ['true', true],
    ['TRUE', true],
    ['tRuE', true],
    ['0', false],
    ['yes', false],
    ['', false],
    [' 1', false],
  ])('CNI_NETNS_OVERRIDE=%j', (value, expected) => {
    expect(parse({ CNI_COMMAND: 'ADD', CNI_NETNS_OVERRIDE: value }).netnsOverride).toBe(expected)
  })

  it.each(['add', 'NOPE', 'ADD '])('%j is no verb', (command) => {
    expect(() => toVerb(command)).toThrow(
      expect.objectContaining({ code: 4, msg: `unknown CNI_COMMAND: ${command}` }),
    )
  })
})
