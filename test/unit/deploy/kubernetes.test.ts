/** What deploy/kubernetes promises. */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { install } from '../../../cli/commands/install/index.ts'
import { files, read, root } from '../house/sources.ts'
import { parseYaml } from './yaml.ts'

const folder = 'deploy/kubernetes'

interface Container {
  readonly name: string
  readonly image: string
  readonly command: string[]
  readonly args?: string[]
  readonly securityContext: {
    readonly privileged: boolean
    readonly allowPrivilegeEscalation: boolean
    readonly readOnlyRootFilesystem: boolean
    readonly runAsUser: number
    readonly capabilities: { readonly drop: string[]; readonly add: string[] }
    readonly seccompProfile: { readonly type: string }
    readonly appArmorProfile?: { readonly type: string }
  }
  readonly resources: {
    readonly requests: Record<string, string>
    readonly limits: Record<string, string>
  }
  readonly volumeMounts: { name: string; mountPath: string; readOnly?: boolean; mountPropagation?: string }[]
  readonly startupProbe?: Probe
  readonly readinessProbe?: Probe
  readonly livenessProbe?: Probe
}
interface Probe {
  readonly exec: { readonly command: string[] }
  readonly timeoutSeconds: number
  readonly failureThreshold: number
  readonly periodSeconds: number
}
interface Volume {
  readonly name: string
  readonly hostPath?: { readonly path: string; readonly type: string }
  readonly emptyDir?: { readonly medium: string; readonly sizeLimit: string }
}

const document = <T>(name: string): T => parseYaml(read(join(folder, name))) as T

const daemonSet = document<{
  kind: string
  spec: {
    selector: { matchLabels: Record<string, string> }
    updateStrategy: { type: string; rollingUpdate: { maxUnavailable: string; maxSurge: number } }
    template: {
      metadata: { labels: Record<string, string> }
      spec: Record<string, unknown> & {
        initContainers: Container[]
        containers: Container[]
        volumes: Volume[]
        tolerations: Record<string, string>[]
      }
    }
  }
}>('daemon-set.yaml')
const pod = daemonSet.spec.template.spec
const [installer] = pod.initContainers as [Container]
const [daemon] = pod.containers as [Container]
const hostPathOf = (name: string): string =>
  pod.volumes.find((volume) => volume.name === name)?.hostPath?.path ?? ''

describe('the base', () => {
  const names = readdirSync(join(root, folder)).sort()
  const { resources, namespace, images } = document<{
    resources: string[]
    namespace: string
    images: { name: string; newTag: string }[]
  }>('kustomization.yaml')

  test('lists every file, and every file is there', () => {
    expect([...resources, 'kustomization.yaml'].sort()).toEqual(names)
  })

  test('is of one namespace, which admits it', () => {
    const { metadata } = document<{ metadata: { name: string; labels: Record<string, string> } }>(
      'namespace.yaml',
    )
    expect(metadata.name).toBe(namespace)
    expect(metadata.labels['pod-security.kubernetes.io/enforce']).toBe('privileged')
    for (const name of resources.filter((name) => name !== 'namespace.yaml'))
      expect(document<{ metadata: { namespace: string } }>(name).metadata.namespace).toBe(namespace)
  })

  test('has nothing in its files but what is meant', () => {
    expect(document('service-account.yaml')).toEqual({
      apiVersion: 'v1',
      kind: 'ServiceAccount',
      metadata: { name: 'linkwright', namespace },
      automountServiceAccountToken: false,
    })
    expect(document('resource-quota.yaml')).toEqual({
      apiVersion: 'v1',
      kind: 'ResourceQuota',
      metadata: { name: pod.priorityClassName, namespace },
      spec: {
        hard: { pods: '20000' },
        scopeSelector: {
          matchExpressions: [{ scopeName: 'PriorityClass', operator: 'In', values: [pod.priorityClassName] }],
        },
      },
    })
    const modes = ['enforce', 'audit', 'warn'].map((mode) => [
      `pod-security.kubernetes.io/${mode}`,
      'privileged',
    ])
    expect(document('namespace.yaml')).toEqual({
      apiVersion: 'v1',
      kind: 'Namespace',
      metadata: { name: namespace, labels: Object.fromEntries(modes) },
    })
    const { labels, ...base } = document<Record<string, unknown> & { labels: unknown }>('kustomization.yaml')
    expect(Object.keys(base).sort()).toEqual(['apiVersion', 'images', 'kind', 'namespace', 'resources'])
    // A selector can't be changed afterwards.
    expect(labels).toEqual([{ pairs: expect.anything(), includeSelectors: false }])
  })

  test('names the version of package.json', () => {
    const { version } = JSON.parse(read('package.json')) as { version: string }
    expect(images).toEqual([{ name: 'linkwright', newTag: version }])
  })

  test('gives no right to the API, and no token', () => {
    const kinds = resources.map((name) => document<{ kind: string }>(name).kind).sort()
    expect(kinds).toEqual(['DaemonSet', 'Namespace', 'ResourceQuota', 'ServiceAccount'])
    const account = document<Record<string, unknown>>('service-account.yaml')
    expect(account.automountServiceAccountToken).toBe(false)
    expect(pod.automountServiceAccountToken).toBe(false)
    expect(pod.serviceAccountName).toBe((account.metadata as { name: string }).name)
  })
})

describe('the pod', () => {
  test('is selected by its labels', () => {
    expect(daemonSet.spec.template.metadata.labels).toEqual(daemonSet.spec.selector.matchLabels)
  })

  test('shares the network of the host and nothing else', () => {
    expect(pod).toMatchObject({ hostNetwork: true, hostPID: false, hostIPC: false })
  })

  test('runs on every node, before anything else, and never twice', () => {
    expect(pod).toMatchObject({
      priorityClassName: 'system-node-critical',
      tolerations: [{ operator: 'Exists' }],
    })
    expect(daemonSet.spec.updateStrategy).toEqual({
      type: 'RollingUpdate',
      rollingUpdate: { maxUnavailable: '10%', maxSurge: 0 },
    })
  })

  test('has the time that the daemon takes to end', () => {
    expect(pod.terminationGracePeriodSeconds).toBeGreaterThan(10)
  })

  test('mounts folders of its own choice, nothing of the host as a whole, and no socket of a runtime', () => {
    const paths = pod.volumes.flatMap(({ hostPath }) => (hostPath ? [hostPath.path] : []))
    for (const path of paths) {
      expect(path).toMatch(/^\/(opt|run|var\/lib|etc)\/(cni|linkwright|netns|flannel|xtables\.lock)(\/bin)?$/)
      expect(path).not.toMatch(/\.sock$|\/containerd|\/docker/)
    }
    expect(new Set(paths).size).toBe(paths.length)
  })

  test('has containers that are all looked at here, without ports, variables or a shell of their own', () => {
    expect([pod.initContainers.length, pod.containers.length]).toEqual([1, 1])
    for (const container of [...pod.initContainers, ...pod.containers])
      for (const key of ['ports', 'env', 'envFrom', 'volumeDevices', 'stdin', 'tty', 'lifecycle'])
        expect(container).not.toHaveProperty(key)
    for (const key of ['shareProcessNamespace', 'hostUsers', 'hostAliases', 'securityContext'])
      expect(pod).not.toHaveProperty(key)
  })

  test('uses every volume that it has, and has every one that it uses', () => {
    const used = [installer, daemon].flatMap(({ volumeMounts }) => volumeMounts.map(({ name }) => name))
    expect([...new Set(used)].sort()).toEqual(pod.volumes.map(({ name }) => name).sort())
  })

  test('sees the folders of the host under their own paths', () => {
    for (const { volumeMounts } of [installer, daemon])
      for (const { name, mountPath } of volumeMounts)
        if (name !== 'tmp') expect(mountPath).toBe(hostPathOf(name))
  })
})

describe.each([
  ['installer', installer],
  ['daemon', daemon],
])('the %s', (_name, { securityContext, resources, volumeMounts, image }) => {
  test('has no privilege that it does not name', () => {
    expect(securityContext).toMatchObject({
      privileged: false,
      allowPrivilegeEscalation: false,
      readOnlyRootFilesystem: true,
      runAsUser: 0,
      seccompProfile: { type: 'RuntimeDefault' },
    })
    expect(securityContext.capabilities.drop).toEqual(['ALL'])
  })

  test('says of its privileges nothing that is not looked at', () => {
    expect(
      Object.keys(securityContext)
        .filter((key) => key !== 'appArmorProfile')
        .sort(),
    ).toEqual([
      'allowPrivilegeEscalation',
      'capabilities',
      'privileged',
      'readOnlyRootFilesystem',
      'runAsGroup',
      'runAsUser',
      'seLinuxOptions',
      'seccompProfile',
    ])
  })

  test('tells why it has each capability', () => {
    const lines = read(join(folder, 'daemon-set.yaml')).split('\n')
    for (const capability of securityContext.capabilities.add) {
      const at = lines.findIndex((line) => line.trim() === `- ${capability}`)
      expect(lines[at - 1]).toMatch(/^ +# \S/)
    }
  })

  test('has its share of the node: no limit of the processor', () => {
    expect(Object.keys(resources.requests)).toEqual(['cpu', 'memory'])
    expect(Object.keys(resources.limits)).toEqual(['memory'])
  })

  test('finds a folder for the addon that may be written', () => {
    expect(volumeMounts.find(({ mountPath }) => mountPath === '/tmp')).toEqual({
      name: 'tmp',
      mountPath: '/tmp',
    })
  })

  test('is the image that the base names', () => expect(image).toBe('linkwright'))
})

describe('the installer', () => {
  test('gives options that the command has, for folders that it can write to', () => {
    const [program, command, ...options] = installer.command
    expect([program, command]).toEqual(['linkwright', 'install'])
    for (const option of options) {
      const [name = '', value] = option.slice(2).split('=')
      expect(Object.keys(install.options)).toContain(name)
      const mount = installer.volumeMounts.find(({ mountPath }) => mountPath === value)
      expect(mount).toBeDefined()
      expect(mount?.readOnly).toBeUndefined()
    }
  })

  test('may keep files of others as they are, and nothing else', () => {
    expect(installer.securityContext.capabilities.add).toEqual(['CHOWN', 'DAC_OVERRIDE', 'FOWNER', 'FSETID'])
    expect(installer.securityContext.appArmorProfile).toBeUndefined()
  })
})

describe('the daemon', () => {
  test('has the capabilities that its work takes', () => {
    expect(daemon.securityContext.capabilities.add).toEqual([
      'NET_ADMIN',
      'NET_RAW',
      'NET_BIND_SERVICE',
      'SYS_ADMIN',
    ])
  })

  test('can write settings, and is the process that gets the signals', () => {
    expect(daemon.command).toEqual([
      '/bin/sh',
      '-ec',
      'mount -o remount,bind,rw /proc/sys && exec linkwright daemon',
    ])
    expect(daemon.securityContext.appArmorProfile).toEqual({ type: 'Unconfined' })
  })

  test('is asked how it is by its own command, patiently', () => {
    const probes = [daemon.startupProbe, daemon.readinessProbe, daemon.livenessProbe]
    for (const probe of probes) expect(probe?.exec.command).toEqual(['linkwright', 'daemon', '--status'])
    const [startup, readiness, liveness] = probes as [Probe, Probe, Probe]
    expect(startup.periodSeconds * startup.failureThreshold).toBeGreaterThanOrEqual(60)
    expect(liveness.failureThreshold).toBeGreaterThan(readiness.failureThreshold)
  })

  test.each([
    ['/run/linkwright', false, false],
    ['/run/cni', false, false],
    ['/var/lib/cni', false, false],
    ['/run/xtables.lock', false, false],
    // Namespaces that are mounted after the pod has started must be seen.
    ['/run/netns', true, true],
    ['/run/flannel', true, true],
    ['/etc/cni', true, false],
    ['/opt/cni/bin', true, false],
    ['/opt/linkwright', true, false],
  ])('has %s', (path, isReadOnly, isFollowed) => {
    const mount = daemon.volumeMounts.find(({ mountPath }) => mountPath === path)
    expect(mount?.readOnly ?? false).toBe(isReadOnly)
    expect(mount?.mountPropagation).toBe(isFollowed ? 'HostToContainer' : undefined)
  })
})

describe('the image', () => {
  const lines = read('deploy/Dockerfile').replace(/\\\n/g, '').split('\n')
  const instructions = lines.filter((line) => /^[A-Z]+ /.test(line))

  test('is made of named versions of what it is from', () => {
    const from = instructions.filter((line) => line.startsWith('FROM '))
    expect(from).toHaveLength(2)
    for (const line of from) expect(line).toMatch(/^FROM \S+:\S+( AS \w+)?$/)
    expect(from.join()).not.toContain(':latest')
  })

  test('copies what is there', () => {
    const copied = instructions
      .filter((line) => /^COPY (?!--from)/.test(line))
      .flatMap((line) => line.split(/ +/).slice(1, -1))
    for (const name of copied.filter((name) => name !== '.')) expect(files).toContain(name)
    expect(copied.length).toBeGreaterThan(2)
  })

  test('runs scripts that package.json has', () => {
    const { scripts } = JSON.parse(read('package.json')) as { scripts: Record<string, string> }
    for (const [, name] of lines.join('\n').matchAll(/npm run ([\w:-]+)/g))
      expect(scripts).toHaveProperty(name!)
  })

  test('keeps no lists of packages, and starts programs without a shell', () => {
    for (const line of instructions.filter((line) => line.includes('apt-get install'))) {
      expect(line).toContain('--no-install-recommends')
      expect(line).toMatch(/rm -rf \/var\/lib\/apt\/lists\/\*$/)
    }
    for (const line of instructions.filter((line) => /^(CMD|ENTRYPOINT) /.test(line)))
      expect(line).toMatch(/^\w+ \["[^"]+"(, "[^"]+")*\]$/)
  })

  test('leaves out of its context what is built', () => {
    const ignored = readFileSync(join(root, 'deploy/Dockerfile.dockerignore'), 'utf8').split('\n')
    for (const name of ['.git', '**/node_modules', 'build', 'dist']) expect(ignored).toContain(name)
  })
})

describe('the reader of these files', () => {
  test.each([
    ['a: 1\nb: x\nc: true\nd: "1"', { a: 1, b: 'x', c: true, d: '1' }],
    ['a:\n  - b: 1\n    c:\n      - x\n  - d\ne:', { a: [{ b: 1, c: ['x'] }, 'd'], e: null }],
    ['# c\na:\n  # c\n  b: --x=/y', { a: { b: '--x=/y' } }],
  ])('%j', (text, value) => expect(parseYaml(text)).toEqual(value))

  test.each([
    'a: 1\na: 2',
    'a: [1]',
    'a: yes',
    'a: x: y',
    'a:\n  b: 1\n    c: 2',
    'a: &x 1',
    '- a\nb: 1',
    'a: b # c',
  ])('refuses %j', (text) => expect(() => parseYaml(text)).toThrow(/^line \d/))
})
