/** The executables as they are built, without a daemon: launcher and standalone program together. */
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import { plugins } from '../../../plugins/index.ts'
import { binDirs } from '../../support/plugin.ts'
import { plainEnv, run } from '../../support/program.ts'
import { privateHost } from '../../support/space.ts'

const env = { ...plainEnv, LINKWRIGHT_SOCKET: '/nowhere/linkwright.sock' }
const launcher = fileURLToPath(new URL('../../../dist/cni/linkwright-launcher', import.meta.url))
const standalone = fileURLToPath(new URL('../../../dist/cni/linkwright-cni', import.meta.url))

test('each type answers VERSION, and says what it is', async () => {
  const types = readdirSync(binDirs.ours)
  expect(types.toSorted()).toEqual([...plugins.keys()].toSorted())
  for (const type of types) {
    const { stdout } = await run(join(binDirs.ours, type), [], { env: { ...env, CNI_COMMAND: 'VERSION' } })
    const supportedVersions = plugins.get(type)?.versions
    expect(JSON.parse(stdout), type).toEqual({ cniVersion: '1.1.0', supportedVersions })
  }
  const about = await run(join(binDirs.ours, 'host-local'), [], { env })
  expect(about).toMatchObject({ status: 0, stdout: '' })
  expect(about.stderr).toMatch(/^CNI host-local plugin v/)
})

test('ADD and DEL of ptp', async () => {
  const host = await privateHost()
  const container = await host.container()
  const input = JSON.stringify({
    cniVersion: '1.0.0',
    name: 'net',
    type: 'ptp',
    ipam: { type: 'host-local', subnet: '10.22.0.0/24', dataDir: '/var/lib/cni/networks' },
  })
  const call = (verb: string) =>
    host.run(join(binDirs.ours, 'ptp'), [], {
      input,
      env: {
        ...env,
        CNI_COMMAND: verb,
        CNI_CONTAINERID: 'cid-1',
        CNI_NETNS: container.sandbox,
        CNI_IFNAME: 'eth0',
        CNI_PATH: binDirs.ours,
      },
    })
  const add = await call('ADD')
  expect(add).toMatchObject({ status: 0, stderr: '' })
  expect(JSON.parse(add.stdout).ips).toEqual([
    { interface: 1, address: '10.22.0.2/24', gateway: '10.22.0.1' },
  ])
  expect(await container.ipJson('link', 'show', 'dev', 'eth0')).toHaveLength(1)
  expect(await call('DEL')).toMatchObject({ status: 0, stdout: '', stderr: '' })
  expect(await container.ipJson('link', 'show', 'type', 'veth')).toEqual([])
})

test('by its own name, the launcher passes the type on', async () => {
  const version = await run(launcher, ['ptp', '--version'], { env })
  expect(version.stdout).toMatch(/^CNI ptp plugin v/)
  expect(await run(launcher, [], { env })).toMatchObject({ status: 2, stdout: '' })
})

test('without a daemon, too much input is refused in the words that the launcher has for it', async () => {
  const { stdout, status } = await run(standalone, ['ptp'], {
    input: 'x'.repeat((1 << 20) + 1),
    env: {
      ...env,
      CNI_COMMAND: 'DEL',
      CNI_CONTAINERID: 'cid-1',
      CNI_IFNAME: 'eth0',
      CNI_PATH: '/nowhere',
    },
  })
  expect(status).toBe(1)
  expect(JSON.parse(stdout)).toEqual({
    cniVersion: '1.1.0',
    code: 5,
    msg: 'error reading from stdin: a configuration has at most 1048576 bytes',
  })
})
