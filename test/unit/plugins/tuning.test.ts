/** tuning: what it takes from its configuration, and what it makes of names, patterns and files. */
import { mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, onTestFinished, test } from 'vitest'
import { CniArgs } from '../../../cni/args.ts'
import type { CniError } from '../../../cni/error.ts'
import { parseConf } from '../../../cni/schema.ts'
import type { JsonObject } from '../../../cni/types.ts'
import { checkAllowed, readAllowlist } from '../../../plugins/tuning/allowlist.ts'
import { type Backup, Backups, merge } from '../../../plugins/tuning/backup.ts'
import { tuningConf, wantedOf } from '../../../plugins/tuning/conf.ts'
import { goRegExp } from '../../../plugins/tuning/go-regexp.ts'
import { ipv6InterfaceOf, isSysctlPath, sysctlPath } from '../../../plugins/tuning/sysctl-names.ts'
import { sameValue } from '../../../plugins/tuning/sysctls.ts'

const scratch = (): string => {
  const path = mkdtempSync(join(tmpdir(), 'tuning-'))
  onTestFinished(() => rmSync(path, { recursive: true }))
  return path
}

const wanted = (conf: JsonObject, args = '', ifName = 'eth0') =>
  wantedOf({
    conf: parseConf(tuningConf, { name: 'net', ...conf }, 'tuning'),
    args: new CniArgs(args, true),
    ifName,
  })

const refusal = (call: () => unknown): string => {
  try {
    call()
  } catch (error) {
    return `${(error as CniError).code}: ${(error as Error).message}`
  }
  throw new Error('it was accepted')
}

describe('names of sysctls', () => {
  test.each([
    ['net.ipv4.ip_forward', 'net/ipv4/ip_forward'],
    ['net/ipv4/ip_forward', 'net/ipv4/ip_forward'],
    ['.net..core.somaxconn', 'net/core/somaxconn'],
    ['net.ipv4.conf.IFNAME.arp_filter', 'net/ipv4/conf/eth0.100/arp_filter'],
    ['net/ipv6/neigh/IFNAME/gc_stale_time', 'net/ipv6/neigh/eth0.100/gc_stale_time'],
    ['net.ipv4.conf.all.rp_filter', 'net/ipv4/conf/all/rp_filter'],
    // As they are, as sysctl(8) has them with dots first, and with slashes first.
    ['net.ipv4.conf.bond0.7.arp_filter', 'net/ipv4/conf/bond0.7/arp_filter'],
    ['net.ipv4.conf.bond0/7.arp_filter', 'net/ipv4/conf/bond0.7/arp_filter'],
    ['net/ipv4/conf/bond0.7/arp_filter', 'net/ipv4/conf/bond0.7/arp_filter'],
    ['net.mpls.conf.a.b.c.input', 'net/mpls/conf/a.b.c/input'],
    // A name behind the placeholder is no part of the interface's.
    ['net.ipv4.conf.IFNAME.other.arp_filter', 'net/ipv4/conf/eth0.100/other/arp_filter'],
    ['net.ipv4.conf.xIFNAME.IFNAME', 'net/ipv4/conf/xeth0.100/IFNAME'],
    // Dots are separators before anything can be gone up.
    ['net/../kernel/x', 'net/kernel/x'],
  ])('%s', (key, path) => {
    expect(sysctlPath(key, 'eth0.100')).toBe(path)
  })

  test.each([
    '',
    '.',
    'net',
    'net.',
    'kernel.hostname',
    'vm/net/x',
    '../net/ipv4/x',
    'nett.ipv4.x',
    'net.\0.x',
  ])('%j is none', (key) => {
    expect(sysctlPath(key, 'eth0')).toBe(key === '../net/ipv4/x' ? 'net/ipv4/x' : null)
  })

  test('an interface is taken as it is', () => {
    expect(sysctlPath('net.ipv4.conf.IFNAME.x', "a$&$'b")).toBe("net/ipv4/conf/a$&$'b/x")
    expect(sysctlPath('net.ipv4.conf.IFNAME.x', '..')).toBeNull()
  })

  test.each(['net/../kernel/hostname', 'net', 'net/', '/net/x', 'net//x', 'net/./x', 'kernel/x', 'net/a\0'])(
    '%j is no path of a file',
    (path) => {
      expect(isSysctlPath(path)).toBe(false)
    },
  )

  test('those that go with IPv6', () => {
    expect(ipv6InterfaceOf('net/ipv6/conf/eth0/mtu')).toBe('eth0')
    expect(ipv6InterfaceOf('net/ipv4/conf/eth0/mtu')).toBeNull()
    expect(ipv6InterfaceOf('net/ipv6/bindv6only')).toBeNull()
  })
})

test.each([
  ['32768 60999', '32768\t60999', true],
  ['0x10', '16', true],
  ['-010', '-8', true],
  ['00', '0', true],
  ['1', '1', true],
  ['', '', true],
  ['cubic', 'reno', false],
  ['1 2', '12', false],
  ['08', '8', false],
  ['1.5', '1', false],
])('%j as a value reads %j: %j', (asked, read, same) => {
  expect(sameValue(asked, read)).toBe(same)
})

describe('regular expressions of Go', () => {
  test.each([
    [
      '^net\\.ipv4\\.conf\\.[a-z0-9]*\\.[a-z_]*$',
      'net.ipv4.conf.eth0.arp_filter',
      'net.ipv4.conf.eth0.100.x',
    ],
    ['ipv4', 'net.ipv4.x', 'net.ipv6.x'],
    ['\\Anet\\.core\\z', 'net.core', 'xnet.core'],
    ['^net[[:punct:]][[:alpha:][:digit:]]+$', 'net.ipv4', 'net.ip-4'],
    ['[]x-]', ']', 'a'],
    ['[\\w-.]', '-', '/'],
    ['[^[:space:]]', 'a', ' '],
    ['(?i)NET', 'net', 'ne'],
    ['(?P<family>ipv[46])', 'ipv6', 'ipv5'],
    ['(?:a|b){2}$', 'ab', 'ac'],
    ['a{,2}]', 'a{,2}]', 'aa]'],
    ['\\Qa.b\\E.', 'a.bx', 'axbx'],
    ['\\Qa.b', 'a.b', 'axb'],
    ['\\x2e\\x{2E}\\_\\-\\/', '.._-/', 'xx_-/'],
    ['x\\.?', 'x', 'y'],
  ])('%s', (pattern, yes, no) => {
    expect(goRegExp(pattern).test(yes)).toBe(true)
    expect(goRegExp(pattern).test(no)).toBe(false)
  })

  test.each([
    ...['*', '(', ')', '[', '[a', '[b-a]', 'a**', '\\', '\\y', '(?=a)', '(?!a)', '(?<=a)', '(a)\\1', '\\pL'],
    ...['[[:nothing:]]', '[\\b]', '\\x{110000}', '(?i', 'a(?i)b', '{2}', '\\Ex'],
  ])('%s is none', (pattern) => {
    expect(() => goRegExp(pattern)).toThrow(SyntaxError)
  })
})

describe('the allowlist', () => {
  test('is not there: everything is allowed', () => {
    const path = join(scratch(), 'none')
    expect(readAllowlist(path)).toBeNull()
    expect(readAllowlist(`${path}/below`)).toBeNull()
    checkAllowed(['net.ipv4.anything'], null, path)
  })

  test('lines are trimmed, empty ones passed over', () => {
    const path = join(scratch(), 'allowlist.conf')
    writeFileSync(path, '\n  ^net\\.core\\. \r\n\t\n^net.ipv4.ip_forward$')
    expect(readAllowlist(path)).toEqual(['^net\\.core\\.', '^net.ipv4.ip_forward$'])
  })

  test('a sysctl that no line matches is named', () => {
    expect(refusal(() => checkAllowed(['net.core.a', 'net.ipv4.b'], ['core', 'ipv6'], '/list'))).toBe(
      "7: Sysctl net.ipv4.b is not allowed. Only the following sysctls are allowed: [core ipv6]; the node's list is /list",
    )
    expect(refusal(() => checkAllowed(['net.core.a'], [], '/list'))).toContain('are allowed: [];')
  })

  test('a line that is none is named, where it comes to it', () => {
    checkAllowed(['net.core.a'], ['core', '(('], '/list')
    expect(refusal(() => checkAllowed(['net.core.a'], ['((', 'core'], '/list'))).toMatch(
      /^7: \/list: error parsing regexp "\(\("/,
    )
  })

  test('one that can not be read allows nothing', () => {
    expect(refusal(() => readAllowlist(scratch()))).toMatch(/^5: read .*is a directory/)
  })
})

describe('what is asked for', () => {
  const macs = ['00', '02', '04', '06'].map((end) => `02:00:00:00:00:${end}`)
  const [own, env, capability, arg] = macs as [string, string, string, string]

  test.each<[JsonObject, string, string | undefined]>([
    [{}, '', undefined],
    [{ mac: own }, '', own],
    [{ mac: own }, `IgnoreUnknown=1;X=1;MAC=${env}`, env],
    [{ mac: own, runtimeConfig: { mac: capability } }, `MAC=${env}`, capability],
    [{ mac: own, runtimeConfig: { mac: '' } }, '', own],
    [{ runtimeConfig: { mac: capability }, args: { cni: { mac: arg } } }, `MAC=${env}`, arg],
    [{ mac: own, args: { cni: { mac: '' } } }, '', undefined],
    [{ mac: own, args: { cni: null } }, '', own],
    [{ mac: '0211.2233.44AA' }, '', '02:11:22:33:44:aa'],
  ])('MAC of %j and %j', (conf, args, mac) => {
    expect(wanted(conf, args).link.mac).toBe(mac)
  })

  test('args take the place of everything else', () => {
    const conf = { promisc: true, mtu: 1400, allmulti: true, txQLen: 5 }
    expect(wanted(conf).link).toEqual({ mac: undefined, ...conf })
    const cni = { promisc: false, mtu: 0, allmulti: false, txqlen: 0 }
    expect(wanted({ ...conf, args: { cni } }).link).toEqual({
      ...{ mac: undefined, promisc: undefined, mtu: undefined, allmulti: false, txQLen: 0 },
    })
  })

  test('sysctls in their order, those of args by setting', () => {
    const conf = { sysctl: { 'net.b': '1', 'net.a': '2', 'net.ipv4.conf.IFNAME.x': '3' } }
    const cni = { sysctl: { 'net.c': '4', 'net.ipv4.conf.eth0.x': '5', 'net/a': '6' } }
    const of = (more: JsonObject) => wanted(more).sysctls.map(({ path, value }) => `${path}=${value}`)
    expect(of(conf)).toEqual(['net/b=1', 'net/a=2', 'net/ipv4/conf/eth0/x=3'])
    expect(of({ ...conf, args: { cni } })).toEqual([
      ...['net/b=1', 'net/a=6', 'net/ipv4/conf/eth0/x=5', 'net/c=4'],
    ])
    // Where the configuration has none, Go ends with a panic.
    expect(of({ args: { cni } })).toHaveLength(3)
  })

  test.each<[string, JsonObject, RegExp]>([
    ['multicast MAC', { mac: '01:00:00:00:00:01' }, /^7: invalid MAC address/],
    ['long MAC', { mac: '02:00:00:00:00:00:00:01' }, /^7: invalid MAC address/],
    ['no MAC', { args: { cni: { mac: 'x' } } }, /^7: .*tuning\.args\.cni\.mac: expected MAC address/],
    [
      'another sysctl',
      { sysctl: { 'kernel.hostname': 'x' } },
      /^7: invalid net sysctl key: "kernel.hostname"/,
    ],
    ['a number', { sysctl: { 'net.a': 1 } }, /^7: .*sysctl\.net\.a: expected string, got number 1/],
    [
      'two values',
      { sysctl: { 'net.ipv4.conf.eth0.x': '1', 'net/ipv4/conf/IFNAME/x': '0' } },
      /^7: duplicated sysctl keys are not allowed; net\.ipv4\.conf\.eth0\.x and net/,
    ],
    ['MTU', { mtu: -1 }, /^7: .*tuning\.mtu/],
    ['MTU as text', { mtu: '1500' }, /^7: .*tuning\.mtu: expected integer.*, got string "1500"/],
    ['queue', { txQLen: 4294967296 }, /^7: .*tuning\.txQLen/],
    ['folder', { dataDir: 'here' }, /^7: .*tuning\.dataDir: expected absolute path/],
  ])('refused: %s', (_title, conf, error) => {
    expect(refusal(() => wanted(conf))).toMatch(error)
  })

  test('refused: CNI_ARGS that are none', () => {
    expect(refusal(() => wanted({}, 'MAC'))).toMatch(/^4: ARGS: invalid pair "MAC"/)
    expect(refusal(() => wanted({}, 'MAC=x'))).toMatch(/^7: invalid MAC address "x"/)
  })
})

describe('backups', () => {
  const id = { containerId: 'a_b', ifName: 'eth_0' }
  const backup = (more: Partial<Backup> = {}): Backup => ({
    link: { mac: '02:00:00:00:00:01', promisc: false, mtu: 1500, allmulti: true, txQLen: 0 },
    sysctls: { 'net/ipv4/conf/eth_0/x': '1', 'net/b': 'a\tb' },
    owner: { network: 'net', ...id, netns: '4:7' },
    ...more,
  })

  test('are kept and read', () => {
    const backups = new Backups(join(scratch(), 'not/yet'))
    expect(backups.read(id)).toBeUndefined()
    backups.write(id, backup())
    expect(backups.read(id)).toEqual(backup())
    expect(Object.keys(backups.read(id)!.sysctls)).toEqual(Object.keys(backup().sysctls))
    backups.remove(id)
    backups.remove(id)
    expect(backups.read(id)).toBeUndefined()
  })

  test('those of Go are read', () => {
    const folder = scratch()
    writeFileSync(join(folder, 'a_b_eth_0.json'), '{\n "mac": "02:00:00:00:00:01",\n "txQLen": 0\n}')
    expect(new Backups(folder).read(id)).toEqual({
      link: { mac: '02:00:00:00:00:01', mtu: undefined, txQLen: 0 },
      sysctls: {},
      owner: null,
    })
  })

  test.each<[string, unknown]>([
    ['nothing', ''],
    ['no JSON', '{'],
    ['a list', []],
    ['null', null],
    ['a MAC that is none', { mac: 'x' }],
    ['an MTU that is none', { mtu: 1.5 }],
    ['a negative MTU', { mtu: -1 }],
    ['text', { promisc: 'yes' }],
    ['a sysctl of the machine', { linkwright: { ...backup().owner, sysctl: { 'kernel/hostname': 'x' } } }],
    ['a way out', { linkwright: { ...backup().owner, sysctl: { 'net/../../etc/passwd': 'x' } } }],
    ['an owner without a name', { linkwright: { sysctl: {} } }],
    ['too much', `{"mtu":1500,"x":"${'x'.repeat(1 << 20)}"}`],
  ])('%s is none', (_title, content) => {
    const folder = scratch()
    const text = typeof content === 'string' ? content : JSON.stringify(content)
    writeFileSync(join(folder, 'a_b_eth_0.json'), text)
    expect(new Backups(folder).read(id)).toBeNull()
  })

  test('what is no plain file is none', () => {
    const folder = scratch()
    writeFileSync(join(folder, 'other'), '{"mtu":1500}')
    symlinkSync('other', join(folder, 'a_b_eth_0.json'))
    mkdirSync(join(folder, 'c_eth_0.json'))
    const backups = new Backups(folder)
    expect(backups.read(id)).toBeNull()
    expect(backups.read({ ...id, containerId: 'c' })).toBeNull()
    backups.write(id, backup())
    expect(readdirSync(folder).sort()).toEqual(['a_b_eth_0.json', 'c_eth_0.json', 'other'])
    expect(backups.read(id)).toEqual(backup())
  })

  test('a name that no file can have', () => {
    const backups = new Backups(scratch())
    const long = { ...id, containerId: 'x'.repeat(256) }
    expect(backups.read(long)).toBeUndefined()
    backups.remove(long)
    expect(refusal(() => backups.write(long, backup()))).toMatch(/^5: open .*: file name too long/)
  })

  test('what was found first is the original', () => {
    const earlier = backup({ link: { mac: undefined, mtu: 1500 }, sysctls: { 'net/b': '1', 'net/a': '2' } })
    const found = backup({
      link: { mac: '02:00:00:00:00:09', mtu: 1400 },
      sysctls: { 'net/a': '3', 'net/c': '4' },
    })
    expect(merge(earlier, found)).toEqual({
      ...found,
      link: { mac: '02:00:00:00:00:09', mtu: 1500 },
      sysctls: { 'net/b': '1', 'net/a': '2', 'net/c': '4' },
    })
    expect(merge(null, found)).toBe(found)
  })

  test('which ones no attachment needs', () => {
    const folder = scratch()
    const backups = new Backups(folder)
    const keep = (containerId: string, network = 'net', ifName = 'eth0'): void =>
      backups.write({ containerId, ifName }, backup({ owner: { network, containerId, ifName, netns: '' } }))
    keep('valid')
    keep('gone')
    keep('gone_too', 'net', 'e_0')
    keep('elsewhere', 'other')
    // The name of a valid attachment's file, too.
    keep('val', 'net', 'id_eth1')
    writeFileSync(join(folder, 'go_eth0.json'), '{"mtu":1500}')
    writeFileSync(join(folder, 'broken_eth0.json'), '{')
    const { owner } = backup()
    writeFileSync(
      join(folder, 'liar_eth0.json'),
      JSON.stringify({ linkwright: { ...owner, containerId: '../x', sysctl: {} } }),
    )
    for (const name of ['old_eth0.json.new', 'new_eth0.json.new', 'notes.txt', 'other.json'])
      writeFileSync(join(folder, name), '{')
    utimesSync(join(folder, 'old_eth0.json.new'), 1, 1)
    const valid = [
      { containerId: 'valid', ifName: 'eth0' },
      { containerId: 'val_id', ifName: 'eth1' },
    ]
    const before = readdirSync(folder)
    for (const remove of backups.stale('net', valid, Date.now())) remove()
    const after = readdirSync(folder)
    expect(before.filter((name) => !after.includes(name)).sort()).toEqual([
      ...['gone_eth0.json', 'gone_too_e_0.json', 'old_eth0.json.new'],
    ])
    expect([...new Backups(join(folder, 'none')).stale('net', [], 0)]).toEqual([])
  })
})
