import { spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  existsSync,
  fstatSync,
  mkdtempSync,
  readFileSync,
  readlinkSync,
  readSync,
  rmSync,
  statSync,
  writeSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, onTestFinished, test } from 'vitest'
import type { Descriptor } from '../../../native/binding.ts'
import { run } from '../../support/program.ts'
import { privateHost, type Space, space } from '../../support/space.ts'
import {
  AF_NETLINK,
  addonPath,
  closing,
  expecting,
  held,
  ifinfomsg,
  message,
  NLM_F_ACK,
  NLM_F_REQUEST,
  native,
  nodeEnv,
  RTM_NEWLINK,
  refusal,
  replies,
  runProgram,
  SOCK_RAW,
  socket,
  unseenEnv,
} from '../../unit/native/support.ts'

const O_RDWR = 2
const own = readlinkSync('/proc/self/ns/net')

const enter = ({ path }: Space): Descriptor => closing(native.open(path, 0, 0))

/** The whole file, from its beginning. */
const content = (file: Descriptor): string => {
  const buffer = Buffer.alloc(4096)
  return buffer.toString('utf8', 0, readSync(file.fd, buffer, 0, buffer.length, 0)).trim()
}

const openPath = (netns: Descriptor | null, path: string, flags = O_RDWR): Descriptor => {
  const [opened] = native.openInNetns(netns, [{ path, flags }])
  if (opened instanceof Error) throw opened
  return closing(opened as Descriptor)
}

describe('openInNetns', () => {
  test('opens sysctl files of that namespace, and they stay its own', async () => {
    const [one, two] = [await space(), await space()]
    const name = 'net/ipv4/ip_default_ttl'
    const [first, second] = [one, two].map((each) => openPath(enter(each), `/proc/sys/${name}`))
    writeSync(first!.fd, '17', 0)
    writeSync(second!.fd, '18', 0)
    expect([await one.sysctl(name), await two.sysctl(name)]).toEqual(['17', '18'])
    expect([content(first!), content(second!)]).toEqual(['17', '18'])
    expect(readFileSync(`/proc/sys/${name}`, 'utf8').trim()).toBe(
      content(openPath(null, `/proc/sys/${name}`, 0)),
    )
    await one.must('sh', ['-c', `echo 19 > /proc/sys/${name}`])
    expect(content(first!)).toBe('19')
  })

  test('opens files of an interface that only that namespace has', async () => {
    const inside = await space()
    await inside.ip('link', 'add', 'only-here', 'type', 'veth', 'peer', 'name', 'other')
    const path = '/proc/sys/net/ipv4/conf/only-here/forwarding'
    writeSync(openPath(enter(inside), path).fd, '1', 0)
    expect(await inside.sysctl('net/ipv4/conf/only-here/forwarding')).toBe('1')
    expect(native.openInNetns(null, [{ path, flags: 0 }])[0]).toMatchObject({ code: 'ENOENT' })
  })

  test('opens sockets that live in that namespace', async () => {
    const inside = await space()
    const link = socket(AF_NETLINK, SOCK_RAW, 0, enter(inside))
    // `ip link set lo up`
    const up = message(RTM_NEWLINK, NLM_F_REQUEST | NLM_F_ACK, 1, ifinfomsg(1, 1, 1))
    expect(replies(native.transactSync(link, up, expecting(1)))).toMatchObject([{ error: 0 }])
    const [lo] = await inside.ipJson<{ flags: string[] }>('link', 'show', 'lo')
    expect(lo!.flags).toContain('UP')
  })

  test('keeps the order of the specs, also of those that fail', async () => {
    const netns = enter(await space())
    const opened = native.openInNetns(netns, [
      { domain: AF_NETLINK, type: SOCK_RAW, protocol: 0 },
      { path: '/proc/sys/net/ipv4/conf/nothing/forwarding', flags: 0 },
      { path: '/proc/sys/net/ipv4/ip_forward', flags: 0 },
      { domain: 9999, type: SOCK_RAW, protocol: 0 },
    ])
    expect(opened.map((one) => (one instanceof Error ? one.message : typeof one.fd))).toEqual([
      'number',
      'open: ENOENT',
      'number',
      'socket: EAFNOSUPPORT',
    ])
    for (const one of opened) if (!(one instanceof Error)) one.close()
  })

  test('a netlink socket is of that namespace, and set up', async () => {
    const inside = await space()
    const link = closing(native.openNetlink(enter(inside), 0))
    const up = message(RTM_NEWLINK, NLM_F_REQUEST | NLM_F_ACK, 1, ifinfomsg(1, 1, 1))
    expect(replies(native.transactSync(link, up, expecting(1)))).toMatchObject([{ error: 0 }])
    const [lo] = await inside.ipJson<{ flags: string[] }>('link', 'show', 'lo')
    expect(lo!.flags).toContain('UP')
    const option = (level: number, name: number) =>
      Buffer.from(native.getsockopt(link, level, name, 4)).readInt32LE()
    const [SOL_SOCKET, SO_SNDBUF, SO_RCVBUF, SOL_NETLINK] = [1, 7, 8, 270]
    expect([10, 11, 12].map((name) => option(SOL_NETLINK, name))).toEqual([1, 1, 1])
    // The kernel doubles what it is told.
    expect([SO_SNDBUF, SO_RCVBUF].map((name) => option(SOL_SOCKET, name) / 2)).toEqual([16 << 20, 32 << 20])
    expect(refusal(() => native.openNetlink(null, 999))).toMatchObject({
      code: 'EPROTONOSUPPORT',
      syscall: 'socket',
    })
  })

  test('is identified by device and inode', async () => {
    const netns = enter(await space())
    const { dev, ino } = fstatSync(netns.fd, { bigint: true })
    expect(native.identifyNetns(netns)).toBe(`${dev}:${ino}`)
    const own = statSync('/proc/thread-self/ns/net', { bigint: true })
    expect(native.identifyNetns(null)).toBe(`${own.dev}:${own.ino}`)
  })

  test('throws what is not a network namespace', () => {
    const spec = [{ path: '/dev/null', flags: 0 }]
    const file = closing(native.open('/dev/null', 0, 0))
    expect(refusal(() => native.openInNetns(file, spec))).toMatchObject({ code: 'EINVAL', syscall: 'setns' })
    const mount = closing(native.open('/proc/self/ns/mnt', 0, 0))
    expect(refusal(() => native.openInNetns(mount, spec))).toMatchObject({ code: 'EINVAL', syscall: 'setns' })
  })

  test('moves no thread of this process, and leaves none behind', async () => {
    const netns = enter(await space())
    await native.transact(socket(AF_NETLINK, SOCK_RAW), Buffer.alloc(16), { ...expecting(0), expected: 0 })
    const before = held()
    for (let round = 0; round < 1000; round++) {
      const [opened] = native.openInNetns(netns, [{ domain: AF_NETLINK, type: SOCK_RAW, protocol: 0 }])
      ;(opened as Descriptor).close()
    }
    expect(held()).toEqual(before)
    const { stdout } = await runProgram(`
      const { readdirSync, readlinkSync } = require('node:fs')
      const link = open(16, 3)
      ;(async () => {
        await Promise.all(Array.from({ length: 8 }, () => native.transact(link, getLink, { ...expecting, expected: 0 })))
        const netns = native.createNetns()
        open(16, 3, 0, netns)
        native.createNetns()
        const all = readdirSync('/proc/self/task').map((task) => readlinkSync('/proc/self/task/' + task + '/ns/net'))
        console.log(all.length > 4, new Set(all).size, all[0])
      })()
    `)
    expect(stdout).toBe(`true 1 ${own}\n`)
  })
})

describe('createNetns', () => {
  test('makes an empty namespace that lives as long as something holds it', async () => {
    const netns = native.createNetns()
    const inode = fstatSync(netns.fd).ino
    expect(`net:[${inode}]`).not.toBe(own)
    const child = spawn('nsenter', [`--net=/proc/${process.pid}/fd/${netns.fd}`, 'ip', '-j', 'link'])
    let said = ''
    child.stdout.on('data', (data) => {
      said += data
    })
    await once(child, 'close')
    expect(JSON.parse(said)).toMatchObject([{ ifname: 'lo', operstate: 'DOWN' }])
    // A socket keeps it alive after the descriptor.
    const link = socket(AF_NETLINK, SOCK_RAW, 0, netns)
    netns.close()
    const up = message(RTM_NEWLINK, NLM_F_REQUEST | NLM_F_ACK, 1, ifinfomsg(1, 1, 1))
    expect(replies(native.transactSync(link, up, expecting(1)))).toMatchObject([{ error: 0 }])
  })
})

describe('named namespaces', () => {
  /** Runs `source` on a host whose /run is its own. */
  const onHost = async (host: Space, source: string, env = nodeEnv): Promise<string> => {
    const prelude = `const native = require(${JSON.stringify(addonPath)})
      const attempt = (call) => { try { return call() } catch (error) { return error.message } }\n`
    return (await host.must(process.execPath, ['-e', prelude + source], { env })).trim()
  }
  const name = (path: string) => JSON.stringify(path)

  test('are what `ip netns` makes, shows and deletes', async () => {
    const host = await privateHost()
    const path = '/run/netns/blue'
    await onHost(host, `native.createNamedNetns(${name(path)})`)
    expect(await host.ipJson('netns', 'list')).toMatchObject([{ name: 'blue' }])
    const [lo] = await host.ipJson<{ flags: string[] }>('-n', 'blue', 'link')
    expect(lo!.flags).not.toContain('UP')
    expect(await host.must('stat', ['-c', '%a %F', path])).toContain('regular')
    expect(await host.must('stat', ['-c', '%a', '/run/netns'])).toBe('755\n')
    await host.ip('netns', 'delete', 'blue')
    expect(existsSync(host.file(path))).toBe(false)
    await host.ip('netns', 'add', 'green')
    expect(await onHost(host, `native.deleteNamedNetns('/run/netns/green')`)).toBe('')
    expect(await host.ipJson('netns', 'list')).toEqual([])
  })

  test('can be entered by the name and by the descriptor', async () => {
    const host = await privateHost()
    const said = await onHost(
      host,
      `const { fstatSync, statSync } = require('node:fs')
       const netns = native.createNamedNetns('/run/netns/blue')
       console.log(fstatSync(netns.fd).ino === statSync('/run/netns/blue').ino)
       netns.close()
       native.deleteNamedNetns('/run/netns/blue')`,
    )
    expect(said).toBe('true')
  })

  test('exist once', async () => {
    const host = await privateHost()
    const said = await onHost(
      host,
      `const path = '/run/netns/blue'
       console.log(attempt(() => native.deleteNamedNetns(path)))
       native.createNamedNetns(path)
       console.log(attempt(() => native.createNamedNetns(path)))
       native.deleteNamedNetns(path)
       console.log(attempt(() => native.deleteNamedNetns(path)))`,
    )
    expect(said.split('\n')).toEqual(['statfs: ENOENT', 'open: EEXIST', 'statfs: ENOENT'])
    expect(await host.must('ls', ['-A', '/run/netns'])).toBe('')
  })

  test('are seen in mount namespaces that were made before', async () => {
    const host = await privateHost()
    await onHost(host, `native.createNamedNetns('/run/netns/first')`)
    const child = spawn(
      ...host.command('unshare', [
        '--mount',
        '--propagation',
        'unchanged',
        'sh',
        '-c',
        'echo ready; exec cat',
      ]),
    )
    onTestFinished(() => {
      child.kill('SIGKILL')
    })
    await once(child.stdout, 'data')
    await onHost(host, `native.createNamedNetns('/run/netns/second')`)
    const inside = `/proc/${child.pid}/root/run/netns/second`
    const type = async () => (await host.must('stat', ['-f', '-c', '%T', inside])).trim()
    expect(await type()).toBe('nsfs')
    await onHost(host, `native.deleteNamedNetns('/run/netns/second')`)
    expect(existsSync(inside)).toBe(false)
    const mounts = (await host.must('cat', ['/proc/self/mountinfo'])).split('\n')
    // Bound on itself once, whatever came after.
    expect(
      mounts.filter((line) => / \/run\/netns [^-]* shared:\d+ /.test(line) && !line.includes('nsfs')),
    ).toHaveLength(1)
  })

  test('of many processes at once, ours and `ip`, all stay visible', async () => {
    const host = await privateHost()
    const ours = Array.from({ length: 4 }, (_, index) =>
      onHost(host, `for (let n = 0; n < 3; n++) native.createNamedNetns('/run/netns/ours-${index}-' + n)`),
    )
    const theirs = Array.from({ length: 6 }, (_, index) => host.ip('netns', 'add', `theirs-${index}`))
    await Promise.all([...ours, ...theirs])
    const names = (await host.ipJson<{ name: string }>('netns', 'list')).map((each) => each.name)
    expect(names).toHaveLength(18)
    for (const each of names) await host.ip('-n', each, 'link', 'set', 'lo', 'up')
  })

  test('leave nothing behind when a step fails', async () => {
    const host = await privateHost()
    // Without /proc there is nothing to bind: the namespace is made, and its name is not.
    const said = await onHost(
      host,
      `const { execFileSync } = require('node:child_process')
       execFileSync('mount', ['-t', 'tmpfs', 'tmpfs', '/proc'])
       const failure = attempt(() => native.createNamedNetns('/run/netns/blue'))
       execFileSync('umount', ['-n', '/proc'], { stdio: 'ignore' })
       console.log(failure, require('node:fs').existsSync('/run/netns/blue'))
       require('node:fs').writeFileSync('/run/file', '')
       console.log(attempt(() => native.createNamedNetns('/run/file/blue')))
       console.log(attempt(() => native.createNamedNetns('/run/netns/' + 'x'.repeat(256))))`,
      unseenEnv,
    )
    expect(said.split('\n')).toEqual(['open: ENOENT false', 'open: ENOTDIR', 'open: ENAMETOOLONG'])
  })

  test('are deleted only when they are namespaces or plain files', async () => {
    const host = await privateHost()
    await host.must('sh', [
      '-ec',
      'mkdir /run/netns; touch /run/netns/half; mkdir /run/d; ln -s /run/netns/real /run/netns/link',
    ])
    const said = await onHost(
      host,
      `console.log(attempt(() => native.deleteNamedNetns('/run/netns/half')))
       console.log(attempt(() => native.deleteNamedNetns('/run/d')))
       console.log(attempt(() => native.deleteNamedNetns('/run')))
       native.createNamedNetns('/run/netns/real')
       console.log(attempt(() => native.deleteNamedNetns('/run/netns/link')))`,
    )
    expect(said.split('\n')).toEqual(['undefined', 'unlink: EISDIR', 'unlink: EISDIR', 'undefined'])
    // The link went, not what it pointed to.
    expect(await host.ipJson('netns', 'list')).toMatchObject([{ name: 'real' }])
    await host.ip('-n', 'real', 'link', 'set', 'lo', 'up')
    expect(await host.must('stat', ['-f', '-c', '%T', '/run'])).toBe('tmpfs\n')
  })
})

describe('where threads can not be made', () => {
  test('everything that needs one throws EAGAIN', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'linkwright-'))
    onTestFinished(() => rmSync(directory, { recursive: true }))
    // The limit counts threads of a user, and root is exempt: the program becomes somebody else, all its own threads
    // made already.
    const { stdout, stderr } = await run(
      'prlimit',
      [
        '--nproc=1:1',
        process.execPath,
        '-e',
        `const native = require(${JSON.stringify(addonPath)})
        const attempt = async (call) => { try { await call(); return 'fine' } catch (error) { return error.message } }
        const lock = () => native.open(${JSON.stringify(join(directory, 'lock'))}, 0o102, 0o600)
        const [first, second] = [lock(), lock()]
        native.tryFlock(first, 2)
        const netns = native.open('/proc/self/ns/net', 0, 0)
        const [socket] = native.openInNetns(null, [{ domain: 1, type: 2, protocol: 0 }])
        process.setgid(65534)
        process.setuid(65534)
        ;(async () => {
          console.log(await attempt(() => native.openInNetns(netns, [])))
          console.log(await attempt(() => native.createNetns()))
          console.log(await attempt(() => native.watch(socket, 1, () => {})))
          console.log(await attempt(() => native.flock(second, 2)))
        })()`,
      ],
      { env: unseenEnv },
    )
    expect(stderr).toBe('')
    expect(stdout.trim().split('\n')).toEqual(new Array(4).fill('pthread_create: EAGAIN'))
  })
})
