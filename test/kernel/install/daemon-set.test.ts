/** The privileges that deploy/kubernetes names are enough: its commands, run with those and no others. */
import { spawn } from 'node:child_process'
import { chmodSync, chownSync, existsSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, onTestFinished, test } from 'vitest'
import { plainEnv } from '../../support/program.ts'
import { type PrivateHost, privateHost } from '../../support/space.ts'
import { eventually } from '../../support/wait.ts'
import { parseYaml } from '../../unit/deploy/yaml.ts'
import { Machine, makeBuild } from './stand-in.ts'

const path = (name: string): string => fileURLToPath(new URL(`../../../${name}`, import.meta.url))

interface Container {
  readonly command: string[]
  readonly securityContext: { readonly capabilities: { readonly add: string[] } }
}
const { spec } = parseYaml(readFileSync(path('deploy/kubernetes/daemon-set.yaml'), 'utf8')) as unknown as {
  spec: { template: { spec: { initContainers: [Container]; containers: [Container] } } }
}
const { initContainers, containers } = spec.template.spec

/** A container's view: a read-only root and /proc/sys, what is mounted, and `linkwright` in its PATH. */
const prepare = async (host: PrivateHost, writable: readonly string[]): Promise<void> => {
  await host.must('mkdir', ['-p', '/run/bin', ...writable])
  await host.must('ln', ['-s', path('dist/cli/linkwright.cjs'), '/run/bin/linkwright'])
  for (const folder of writable) await host.must('mount', ['-t', 'tmpfs', '-o', 'mode=755', 'tmpfs', folder])
  await host.must('mount', ['--bind', '/proc/sys', '/proc/sys'])
  await host.must('mount', ['-o', 'remount,bind,ro', '/proc/sys'])
  await host.must('mount', ['-o', 'remount,bind,ro', '/'])
}

/** A container's command with its capabilities only. */
const confined = (host: PrivateHost, { command, securityContext }: Container): [string, string[]] => {
  const bounds = securityContext.capabilities.add.map((name) => `+${name.toLowerCase()}`)
  const flags = ['--no-new-privs', `--bounding-set=-all,${bounds.join(',')}`]
  return host.command('setpriv', [...flags, '--', ...command])
}

const env = { ...plainEnv, PATH: `/run/bin:${plainEnv.PATH}` }

test('the daemon attaches and detaches containers', async () => {
  const host = await privateHost()
  await prepare(host, ['/run/linkwright', '/run/cni'])
  const daemon = spawn(...confined(host, containers[0]), { env, stdio: ['ignore', 'ignore', 'pipe'] })
  let log = ''
  daemon.stderr.on('data', (data) => {
    log += data
  })
  onTestFinished(() => void daemon.kill('SIGKILL'))
  const socket = host.file('/run/linkwright/linkwright.sock')
  await eventually('the daemon listens', () => {
    if (daemon.exitCode !== null) throw new Error(log)
    return existsSync(socket)
  })

  const container = await host.container()
  const conf = {
    cniVersion: '1.0.0',
    name: 'net',
    type: 'bridge',
    bridge: 'cni0',
    isGateway: true,
    ipMasq: true,
    ipam: { type: 'host-local', ranges: [[{ subnet: '10.22.0.0/16' }], [{ subnet: 'fd00:22::/64' }]] },
  }
  const call = (verb: string, more: object = {}) =>
    host.run(path('dist/cni/bin/bridge'), [], {
      input: JSON.stringify({ ...conf, ...more }),
      env: {
        ...plainEnv,
        CNI_COMMAND: verb,
        CNI_CONTAINERID: 'blue',
        CNI_NETNS: container.sandbox,
        CNI_IFNAME: 'eth0',
        CNI_PATH: path('dist/cni/bin'),
      },
    })
  const added = await call('ADD')
  expect(added).toMatchObject({ status: 0, stderr: '' })
  const prevResult = JSON.parse(added.stdout)
  expect(prevResult.ips).toHaveLength(2)
  expect(await host.sysctl('net/ipv4/ip_forward')).toBe('1')
  expect(await container.ping('10.22.0.1')).toBe(true)
  expect(await call('CHECK', { prevResult })).toMatchObject({ status: 0, stdout: '' })
  expect(await call('DEL', { prevResult })).toMatchObject({ status: 0, stdout: '' })
  expect(await container.ipJson('link', 'show', 'type', 'veth')).toEqual([])
  // It was the daemon that did it.
  await eventually(
    'it is in the log',
    () => log.split('\n').filter((line) => line.includes('"blue"')).length === 3,
  )
})

test('the installer keeps what belongs to somebody else, across mounts', async () => {
  const host = await privateHost()
  // Folders that the machine has, under the names of the manifest; what is in them stays out of sight.
  await host.must('mount', ['-t', 'tmpfs', '-o', 'mode=755', 'tmpfs', '/opt'])
  await prepare(host, ['/opt/cni/bin', '/opt/linkwright'])
  const outside = new Machine(host.file('/'))
  await makeBuild(host.file('/run/build'))
  const owned: Readonly<Record<string, number>> = { bridge: 0o755, 'host-local': 0o6755, ptp: 0o700 }
  for (const [type, mode] of Object.entries(owned)) {
    const path = outside.putForeign(type, 'theirs', mode)
    chownSync(path, 1001, 127)
    chmodSync(path, mode)
  }
  const [container] = initContainers
  const command = [...container.command, '--from', '/run/build']
  const [file, args] = confined(host, { ...container, command })
  const done = spawn(file, args, { env, stdio: ['ignore', 'ignore', 'pipe'] })
  let said = ''
  done.stderr.on('data', (data) => {
    said += data
  })
  const status = await new Promise((resolve) => done.on('close', resolve))
  expect({ status, said }).toEqual({ status: 0, said: '' })
  for (const [type, expected] of Object.entries(owned)) {
    const { uid, gid, mode } = statSync(join(outside.lib, 'replaced', type))
    expect({ type, uid, gid, mode: mode & 0o7777 }).toEqual({ type, uid: 1001, gid: 127, mode: expected })
  }
  expect(await host.must('readlink', ['/opt/cni/bin/bridge'])).toBe(
    '/opt/linkwright/lib/linkwright/current/bin/bridge\n',
  )
})
