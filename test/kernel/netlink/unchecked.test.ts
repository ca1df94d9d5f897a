/** Kernels before Linux 4.20 have no strict checks (NETLINK_GET_STRICT_CHK): they give all of a list. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { binding } from '../../../native/binding.ts'
import {
  address,
  bridgeVlan,
  Connection,
  link,
  neighbour,
  qdisc,
  type Request,
  route,
  rule,
} from '../../../netlink/index.ts'
import { must } from '../../support/program.ts'
import { addonPath, nodeEnv } from '../../unit/native/support.ts'
import { all, place } from './open.ts'

const AF_NETLINK = 16
const SOCK_RAW = 3

const wedge = `
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>

int setsockopt(int fd, int level, int name, const void* value, socklen_t size) {
  const char* missing = getenv("MISSING_OPTION");
  if (level == 270 && missing && name == atoi(missing)) {
    errno = ENOPROTOOPT;
    return -1;
  }
  return ((int (*)(int, int, int, const void*, socklen_t))dlsym(RTLD_NEXT, "setsockopt"))(fd, level, name, value, size);
}
`

/** What tells one object from another. Others change by themselves: timers, counters. */
const which = (found: object): unknown[] => {
  const { index, name, address, dst, table, ip, priority } = found as Readonly<Record<string, unknown>>
  return [index, name, address, dst, table, ip, priority]
}

test('a socket does without them, and not without what is older', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'linkwright-'))
  onTestFinished(() => rmSync(directory, { recursive: true }))
  const library = join(directory, 'wedge.so')
  await must('cc', ['-D_GNU_SOURCE', '-shared', '-fPIC', '-x', 'c', '-', '-o', library, '-ldl'], {
    input: wedge,
  })
  const open = `require(process.argv[1]).openNetlink(null, 0).close(); console.log('open')`
  const opened = (option: number): Promise<string> =>
    must(process.execPath, ['-e', open, addonPath], {
      env: {
        ...nodeEnv,
        LD_PRELOAD: [nodeEnv.LD_PRELOAD, library].filter(Boolean).join(' '),
        MISSING_OPTION: String(option),
      },
    })
  const [NETLINK_EXT_ACK, NETLINK_GET_STRICT_CHK] = [11, 12]
  expect(await opened(NETLINK_GET_STRICT_CHK)).toBe('open\n')
  await expect(opened(NETLINK_EXT_ACK)).rejects.toThrow('ENOPROTOOPT')
})

test('lists are the same without them', async () => {
  const { netns, conn } = await place({ ipv6: true })
  await all(
    conn,
    link.add({ kind: 'bridge', name: 'br0', index: 5, up: true }),
    link.add({ kind: 'ifb', name: 'one', index: 6, up: true, master: 5 }),
    link.add({ kind: 'ifb', name: 'two', index: 7, up: true }),
    address.add({ index: 5, address: '10.1.0.1/24' }),
    address.add({ index: 7, address: '10.2.0.1/24' }),
    route.add({ dst: '10.3.0.0/16', gateway: '10.1.0.2', table: 77 }),
    route.add({ dst: '10.4.0.0/16', gateway: '10.2.0.2' }),
    rule.add({ family: 4, from: '10.1.0.0/24', table: 77, priority: 100 }),
    neighbour.add({ index: 5, ip: '10.1.0.9', address: '02:00:00:00:00:09' }),
    neighbour.add({ index: 7, ip: '10.2.0.9', address: '02:00:00:00:00:0a' }),
  )
  const [socket] = binding().openInNetns(netns.descriptor, [
    { domain: AF_NETLINK, type: SOCK_RAW, protocol: 0 },
  ])
  if (!socket || socket instanceof Error) throw socket
  using plain = new Connection(socket)
  const lists: Request<object[]>[] = [
    link.list({ master: 5 }),
    link.list({ kind: 'ifb' }),
    link.listNames('ifb'),
    address.list({ index: 7 }),
    address.list({ family: 4 }),
    route.list({ table: 77 }),
    route.list({ index: 7, family: 4 }),
    route.list({ dst: '10.4.0.0/16' }),
    rule.list({ table: 77 }),
    neighbour.list({ index: 7, family: 4 }),
    bridgeVlan.list({ index: 6 }),
    qdisc.list({ index: 7 }),
  ]
  for (const list of lists) {
    const found = await conn.run(list)
    expect(found, list.op).not.toEqual([])
    expect((await plain.run(list)).map(which), list.op).toEqual(found.map(which))
  }
})
