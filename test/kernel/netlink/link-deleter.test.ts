import { describe, expect, test } from 'vitest'
import { type Connection, deleteLinks, LinkDeleter, link } from '../../../netlink/index.ts'
import { all, place } from './open.ts'

const pairs = async (conn: Connection, count: number): Promise<number[]> => {
  const names = Array.from({ length: count }, (_, i) => `v${i}`)
  await all(
    conn,
    ...names.map((name) => link.add({ kind: 'veth', name, data: { peer: { name: `p${name}` } } })),
  )
  const links = await conn.run(link.list({ kind: 'veth' }))
  return names.map((name) => links.find((one) => one.name === name)!.index)
}

const left = async (conn: Connection): Promise<string[]> =>
  (await conn.run(link.list())).map(({ name }) => name).filter((name) => name !== 'lo')

/** The same connection, and how many datagrams went over it that delete. */
const counted = (conn: Connection) => {
  const deleting: number[] = []
  const count = (requests: readonly { readonly op: string }[]): void => {
    const found = requests.filter(({ op }) => op.startsWith('delete')).length
    if (found > 0) deleting.push(found)
  }
  const view = new Proxy(conn, {
    get(target, name) {
      if (name === 'run')
        return (request: Parameters<Connection['run']>[0]) => {
          count([request])
          return target.run(request)
        }
      if (name !== 'batch') return Reflect.get(target, name) as unknown
      return (requests: Parameters<Connection['batch']>[0]) => {
        count(requests)
        return target.batch(requests)
      }
    },
  })
  return { view, deleting }
}

describe('links that are deleted together', () => {
  test('go with one request, those that have gone already apart', async () => {
    const { conn } = await place()
    const indices = await pairs(conn, 5)
    const { view, deleting } = counted(conn)
    expect(await deleteLinks(view, [...indices, 9999])).toEqual(new Map())
    expect(await left(conn)).toEqual([])
    expect(deleting).toEqual([1])
  })

  test('one that can not be deleted keeps none of the others', async () => {
    const { conn } = await place()
    const indices = await pairs(conn, 3)
    const lo = (await conn.run(link.get('lo'))).index
    const failed = await deleteLinks(conn, [lo, ...indices])
    expect([...failed.keys()]).toEqual([lo])
    expect(failed.get(lo)).toMatchObject({ code: 'EOPNOTSUPP' })
    expect(await left(conn)).toEqual([])
  })

  test('nothing is nothing to do', async () => {
    const { conn } = await place()
    expect(await deleteLinks(conn, [])).toEqual(new Map())
    expect(await deleteLinks(conn, [9998, 9999])).toEqual(new Map())
  })

  test('what is asked for while others are deleted goes together with the next', async () => {
    const { conn } = await place()
    const [first, ...others] = await pairs(conn, 6)
    const { view, deleting } = counted(conn)
    const deleter = new LinkDeleter(view)
    const one = deleter.delete(first!)
    // After its request has gone out.
    await Promise.resolve().then(() => {})
    const rest = others.map((index) => deleter.delete(index))
    // Asked for twice.
    rest.push(deleter.delete(others[0]!))
    await Promise.all([one, ...rest])
    expect(await left(conn)).toEqual([])
    expect(deleting).toEqual([1, 1])
  })

  test('each caller is told of its own', async () => {
    const { conn } = await place()
    const indices = await pairs(conn, 2)
    const lo = (await conn.run(link.get('lo'))).index
    const deleter = new LinkDeleter(conn)
    const outcomes = await Promise.allSettled([lo, ...indices, 9999].map((index) => deleter.delete(index)))
    expect(outcomes.map(({ status }) => status)).toEqual(['rejected', 'fulfilled', 'fulfilled', 'fulfilled'])
    expect(await left(conn)).toEqual([])
  })

  test('a socket that fails fails all, and the next is tried anew', async () => {
    const { conn, netns } = await place()
    const [index] = await pairs(conn, 1)
    const broken = netns.connect()
    const deleter = new LinkDeleter(broken)
    broken.close()
    await expect(deleter.delete(index!)).rejects.toMatchObject({ code: 'EBADF' })
    await expect(deleter.delete(index!)).rejects.toMatchObject({ code: 'EBADF' })
    expect(await left(conn)).toHaveLength(2)
  })
})
