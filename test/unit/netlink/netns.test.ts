import { afterEach, expect, test, vi } from 'vitest'
import { binding } from '../../../native/binding.ts'
import { Netns, NotANamespaceError } from '../../../netlink/netns.ts'

afterEach(() => {
  vi.restoreAllMocks()
})

const refused = (path: string): string => {
  try {
    Netns.open(path).close()
  } catch (error) {
    expect(error).toBeInstanceOf(NotANamespaceError)
    return (error as Error).message
  }
  throw new Error(`${path} was taken for a network namespace`)
}

test('a network namespace is told from files, and from namespaces of other kinds', () => {
  Netns.open('/proc/self/ns/net').close()
  expect(refused('/dev/null')).toMatch(/^\/dev\/null is not a network namespace \(file system magic 0x/)
  expect(refused('/proc/self/ns/mnt')).toContain('a namespace of another kind: 0x20000')
})

test('a namespace whose kind is not told is not taken for something that is left behind', () => {
  vi.spyOn(binding(), 'ioctl').mockImplementation(() => {
    throw Object.assign(new Error('ioctl: EPERM'), { code: 'EPERM' })
  })
  Netns.open('/proc/self/ns/net').close()
  expect(refused('/dev/null')).toContain('file system magic')
})
