/** What any plugin does before it does what it is for: the same questions to the Go plugins and to ours. */
import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { allVersions } from '../../cni/types.ts'
import { binDirs, type PluginCall, runPlugin } from '../support/plugin.ts'
import { plainEnv } from '../support/program.ts'
import { privateHost } from '../support/space.ts'

/** The Go plugins to compare with; newer ones than the installed may be named. */
const peer = process.env.PEER_CNI_PATH ?? binDirs.go
const answer = spawnSync(`${peer}/static`, { env: { ...plainEnv, CNI_COMMAND: 'VERSION' }, encoding: 'utf8' })
const goVersions: readonly string[] = JSON.parse(answer.stdout).supportedVersions
/** Since 1.3 (spec 1.1.0) Go prints results of 1.x with their keys in order, and no empty dns. */
const isNew = goVersions.includes('1.1.0')
/** Where the questions go that only newer ones understand; null where `npm test` could not build these. */
const newPeer = [...(isNew ? [peer] : []), binDirs.goNewer].find((dir) => existsSync(`${dir}/static`)) ?? null
const inOldOrder = (version: string): boolean => !isNew && version.startsWith('1.')

type Question = Partial<Omit<PluginCall, 'host' | 'binDir'>>

const conf = {
  cniVersion: '1.0.0',
  name: 'net',
  type: 'static',
  ipam: {
    type: 'static',
    addresses: [
      { address: '10.1.2.3/16', gateway: '10.1.0.1' },
      { address: '2001:DB8::0:5/64', gateway: '2001:db8::1' },
    ],
    routes: [{ dst: '0.0.0.0/0' }, { dst: '2001:db8:1::/48', gw: '2001:db8::0:9' }],
    dns: { nameservers: ['1.1.1.1'], domain: '<a&b>', search: [], options: ['x'] },
  },
}

const ask = async (binDir: string, question: Question) => {
  const host = await privateHost()
  const { status, stdout, stderr, error } = await runPlugin({
    host,
    binDir,
    type: 'static',
    command: 'ADD',
    conf,
    netns: '/run/netns/nowhere',
    ...question,
  })
  return { status, stdout, stderr, error }
}

const both = async (question: Question, goDir = peer) => {
  const [go, ours] = await Promise.all([ask(goDir, question), ask(binDirs.ours, question)])
  return { go, ours }
}

describe('results', () => {
  it.each(goVersions)('of %s byte for byte', async (cniVersion) => {
    const { go, ours } = await both({ conf: { ...conf, cniVersion } })
    if (inOldOrder(cniVersion)) expect(JSON.parse(ours.stdout)).toEqual(JSON.parse(go.stdout))
    else expect(ours).toEqual(go)
    expect(ours.status).toBe(0)
  })

  it.each(newPeer ? ['0.2.0', '0.4.0', '1.0.0', '1.1.0'] : [])(
    "of %s byte for byte those of newer Go's",
    async (cniVersion) => {
      const { go, ours } = await both({ conf: { ...conf, cniVersion } }, newPeer!)
      expect(ours).toEqual(go)
      expect(ours.status).toBe(0)
    },
  )

  it('without a version', async () => {
    const { go, ours } = await both({ conf: { ...conf, cniVersion: undefined } })
    expect(ours.stdout).toBe(go.stdout)
  })

  it('with nothing in them', async () => {
    for (const cniVersion of ['0.2.0', '0.3.1', '1.0.0']) {
      const { go, ours } = await both({ conf: { ...conf, cniVersion, ipam: { type: 'static' } } })
      expect(ours.status).toBe(go.status)
      if (go.status === 0 && inOldOrder(cniVersion)) expect(JSON.parse(go.stdout)).toMatchObject({ dns: {} })
      else if (go.status === 0) expect(ours.stdout).toBe(go.stdout)
      else expect(ours.error).toMatchObject(go.error ?? {})
    }
  })

  it('with keys of any case, nulls and strangers', async () => {
    const strange = {
      CNIVERSION: '1.0.0',
      Name: 'net',
      cniVersion: '0.4.0',
      prevresult: null,
      x: [1],
      IPAM: { Addresses: [{ ADDRESS: '10.0.0.1/8', gateway: null }], routes: null, DNS: {}, y: 1 },
    }
    const { go, ours } = await both({ conf: strange })
    expect(ours).toEqual(go)
  })

  it('of DEL, CHECK and VERSION', async () => {
    const prevResult = { cniVersion: '1.0.0', ips: conf.ipam.addresses }
    for (const question of [
      { command: 'DEL' },
      { command: 'DEL', netns: null },
      { command: 'CHECK', conf: { ...conf, prevResult } },
    ]) {
      const { go, ours } = await both(question)
      expect(ours).toEqual(go)
      expect(ours).toMatchObject({ status: 0, stdout: '' })
    }
    const { go, ours } = await both({ command: 'VERSION', conf: 'not read' })
    expect(JSON.parse(go.stdout).supportedVersions).toEqual(goVersions)
    expect(ours.stdout).toBe(`${JSON.stringify({ cniVersion: '1.1.0', supportedVersions: allVersions })}\n`)
  })
})

/** What older Go plugins answer differently. */
const newQuestions: [string, Question][] = [
  ['a wrong interface and no path', { ifName: '.', path: null }],
  ['a STATUS too early', { command: 'STATUS' }],
  ['a GC too early', { command: 'GC' }],
  ['a GC without a path', { command: 'GC', path: null, containerId: null, ifName: null, netns: null }],
  ['a container that is the host, on DEL', { command: 'DEL', netns: '/proc/self/ns/net' }],
]

describe('errors: code, message and details', () => {
  it.each<[string, Question, string?]>([
    ['no container id', { containerId: null }],
    ['an empty container id', { containerId: '' }],
    ['a container id that climbs', { containerId: '../x' }],
    ['a container id with a space', { containerId: 'a b' }],
    ['no interface', { ifName: null }],
    ['an interface that is too long', { ifName: 'a'.repeat(16) }],
    ['the interface .', { ifName: '.' }],
    ['the interface ..', { ifName: '..' }],
    ['an interface with a slash', { ifName: 'a/b' }],
    ['an interface with a colon', { ifName: 'a:b' }],
    ['an interface with a tab', { ifName: 'a\tb' }],
    ['an interface with a space of two bytes', { ifName: 'a\u00a0b' }],
    ['an interface with a next line', { ifName: 'a\u0085b' }],
    ['no namespace', { netns: null }],
    ['no path', { path: null }],
    ['nothing at all', { containerId: null, ifName: null, netns: null, path: null }],
    ['nothing at all for DEL', { command: 'DEL', containerId: null, ifName: null, netns: null, path: null }],
    [
      'nothing at all for CHECK',
      { command: 'CHECK', containerId: null, ifName: null, netns: null, path: null },
    ],
    ...(newPeer
      ? newQuestions.map(([what, asked]): [string, Question, string] => [what, asked, newPeer])
      : []),
    ['an unknown command', { command: 'NOPE' }],
    ['a command in small letters', { command: 'add' }],
    ['an unknown command without a name', { command: 'NOPE', conf: {} }],
    ['no name', { conf: { cniVersion: '1.0.0' } }],
    ['a name that is null', { conf: { name: null } }],
    ['a configuration that is null', { conf: 'null' }],
    ['a name that climbs', { conf: { ...conf, name: '../x' } }],
    ['a CHECK too early', { command: 'CHECK', conf: { ...conf, cniVersion: '0.3.1' } }],
    ['a CHECK without a version', { command: 'CHECK', conf: { name: 'net' } }],
    ['a CHECK of a version that is none', { command: 'CHECK', conf: { ...conf, cniVersion: '1.2.3.4' } }],
    ['an address that is none', { conf: { ...conf, ipam: { addresses: [{ address: 'x' }] } } }],
    ['CNI_ARGS that are no pair', { args: 'IP' }],
    ['CNI_ARGS nobody knows', { args: 'A=b;IP=10.0.0.1/8;C=d' }],
  ])('%s', async (_, question, goDir = peer) => {
    const { go, ours } = await both(question, goDir)
    expect(go.status).toBe(1)
    expect(ours.status).toBe(1)
    // Go gives 999 for whatever is no CNI error; ours has a better code for some, and may say more.
    const { code, ...words } = go.error!
    expect(ours.error).toMatchObject(code === 999 ? { msg: words.msg } : { code, ...words })
  })

  it.each<[string, Question]>([
    ['input that is empty', { conf: '' }],
    ['input that is cut off', { conf: '{"name":' }],
    ['input with more behind it', { conf: '{"name":"net"} x' }],
    ['input with a byte order mark', { conf: '\ufeff{"name":"net"}' }],
    ['an array', { conf: '[]' }],
    ['a name that is a number', { conf: { name: 5 } }],
    ['a version that is a number', { conf: { ...conf, cniVersion: 1 } }],
    ['a CHECK of a version in words', { command: 'CHECK', conf: { ...conf, cniVersion: 'x.y' } }],
  ])('%s: the same code, in the words of another parser', async (_, question) => {
    const { go, ours } = await both(question)
    expect(ours.error?.code).toBe(go.error?.code)
    const beginning = go.error?.msg.split(':')[0] ?? ''
    expect(ours.error?.msg.startsWith(beginning.replace(/ version part.*/, ' version part'))).toBe(true)
  })

  it('a version from the future: the same but for the list of versions', async () => {
    for (const command of ['ADD', 'DEL']) {
      const { go, ours } = await both({ command, conf: { ...conf, cniVersion: '9.9.9' } })
      expect(ours.error).toMatchObject({
        code: 1,
        msg: 'incompatible CNI versions',
        details: go.error?.details?.replace(/"1.0.0"]$/, '"1.0.0" "1.1.0"]'),
      })
    }
  })

  it('are printed alike, and name the version besides', async () => {
    const { go, ours } = await both({ conf: { ...conf, name: '<&>' } })
    expect(ours.stdout).toBe(go.stdout.replace('{\n', '{\n    "cniVersion": "1.0.0",\n'))
  })
})

describe('the about text', () => {
  it('has the same form', async () => {
    const { go, ours } = await both({ command: '', conf: '' })
    expect(go).toMatchObject({ status: 0, stdout: '' })
    expect(ours).toMatchObject({ status: 0, stdout: '' })
    const form = /^CNI static plugin v?\S+.*\nCNI protocol versions supported: 0\.1\.0, (?:\S+, )*\S+\n$/
    expect(go.stderr).toMatch(form)
    expect(ours.stderr).toMatch(form)
  })
})
