import { spawn } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs'
import { onTestFinished } from 'vitest'
import { must, plainEnv } from '../../support/program.ts'
import { type PrivateHost, privateHost } from '../../support/space.ts'
import { eventually } from '../../support/wait.ts'
import { call, decode, type Message, textOf } from './grpc.ts'

const IMAGE = 'localhost/busybox:1'
const SOCKET = '/run/containerd/containerd.sock'

/**
 * Settings with which containerd works on a kernel without overlayfs and without delegated control groups. Sandboxes
 * run the image below instead of `pause`, which would have to be fetched.
 */
const settings = (binDir: string): string => `
version = 2
root = "/var/lib/containerd"
state = "/run/containerd"
[grpc]
  address = "${SOCKET}"
[plugins."io.containerd.internal.v1.opt"]
  path = "/var/lib/containerd/opt"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "${IMAGE}"
  disable_apparmor = true
  disable_cgroup = true
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "${binDir}"
    conf_dir = "/etc/cni/net.d"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "native"
`

/** An image archive (the format of `docker save`) with busybox in it, made in `folder`. @returns its path */
const makeImage = async (folder: string): Promise<string> => {
  mkdirSync(`${folder}/root/bin`, { recursive: true })
  await must('cp', ['/bin/busybox', `${folder}/root/bin/busybox`])
  for (const applet of ['sh', 'sleep', 'ip', 'ping', 'nc', 'cat'])
    await must('ln', ['-s', 'busybox', `${folder}/root/bin/${applet}`])
  await must('tar', ['-C', `${folder}/root`, '-cf', `${folder}/layer.tar`, '.'])
  const digest = (await must('sha256sum', [`${folder}/layer.tar`])).split(' ')[0]
  const config = {
    architecture: 'amd64',
    os: 'linux',
    config: { Cmd: ['/bin/sleep', '100000'] },
    rootfs: { type: 'layers', diff_ids: [`sha256:${digest}`] },
  }
  const manifest = [{ Config: 'config.json', RepoTags: [IMAGE], Layers: ['layer.tar'] }]
  writeFileSync(`${folder}/config.json`, JSON.stringify(config))
  writeFileSync(`${folder}/manifest.json`, JSON.stringify(manifest))
  await must('tar', ['-C', folder, '-cf', `${folder}/image.tar`, 'manifest.json', 'config.json', 'layer.tar'])
  return `${folder}/image.tar`
}

/** Where runc puts containers, below each hierarchy; it removes what it made there, not the group itself. */
const GROUP = 'linkwright-e2e'

/** Registered before the host is made, so that it comes after the host's end: last in, first out. */
const removeControlGroups = (): void => {
  const hierarchies = readdirSync('/sys/fs/cgroup', { withFileTypes: true }).filter((entry) =>
    entry.isDirectory(),
  )
  for (const folder of ['', ...hierarchies.map(({ name }) => name)]) {
    const path = `/sys/fs/cgroup/${folder}/${GROUP}`
    if (existsSync(path)) rmdirSync(path)
  }
}

/** What a kubelet asks for with a sandbox. */
export interface SandboxRequest {
  /** How often the kubelet has tried before. Default 0. */
  readonly attempt?: number | undefined
  /** TCP ports of the host and what they lead to. Default: none. */
  readonly ports?: readonly { readonly host: number; readonly container: number }[] | undefined
}

/** What CRI says of a sandbox. */
export interface Sandbox {
  readonly id: string
  /** Of its first address; empty where it has none. */
  readonly ip: string
  readonly moreIps: readonly string[]
}

/** A containerd that runs on a private host, with its own state and folders, and ends with it. */
export class Containerd {
  readonly host: PrivateHost

  private constructor(host: PrivateHost) {
    this.host = host
  }

  /** Starts one whose CNI plugins are in `binDir`, and whose network is `conflist`. */
  static async start(binDir: string, conflist: unknown): Promise<Containerd> {
    onTestFinished(removeControlGroups)
    const host = await privateHost({ processes: true })
    // Links, as an installation makes them. ctr has its folders built in: /opt/cni/bin, or /usr/lib/cni on Debian.
    const script = [
      'mount -t tmpfs tmpfs /opt',
      'mkdir -p /opt/cni/bin /run/etc/upper /run/etc/work /run/image',
      'ln -s "$1"/* /opt/cni/bin',
      'if [ "$1" != /usr/lib/cni ]; then mount --bind /opt/cni/bin /usr/lib/cni; fi',
      'mount -t overlay -o lowerdir=/etc,upperdir=/run/etc/upper,workdir=/run/etc/work overlay /etc',
      'mkdir -p /etc/cni/net.d',
    ]
    await host.must('sh', ['-ec', script.join('\n'), 'sh', binDir])
    writeFileSync(host.file('/etc/cni/net.d/10-e2e.conflist'), JSON.stringify(conflist))
    writeFileSync(host.file('/run/containerd.toml'), settings('/opt/cni/bin'))
    const image = await makeImage(host.file('/run/image'))
    const containerd = new Containerd(host)
    const log = [
      'sh',
      ['-c', 'exec containerd -l warn -c /run/containerd.toml >/run/containerd.log 2>&1'],
    ] as const
    spawn(...host.command(...log), { env: plainEnv, stdio: 'ignore' })
    await eventually('containerd answers', () => containerd.#cri('Version', {}), 20_000)
    for (const namespace of ['default', 'k8s.io'])
      await containerd.ctr('-n', namespace, 'images', 'import', image.slice(host.file('').length))
    return containerd
  }

  /** What it logged, for the message of a failed test. */
  get log(): string {
    return readFileSync(this.host.file('/run/containerd.log'), 'utf8')
  }

  /** Runs `ctr`. @returns its output */
  ctr(...args: string[]): Promise<string> {
    return this.host.must('ctr', args, { timeout: 60_000 })
  }

  /** Runs a program in a new container on the network, to its end. @returns what it printed */
  async runContainer(id: string, ...command: string[]): Promise<string> {
    const folder = `/run/said/${id}`
    mkdirSync(this.host.file(folder), { recursive: true })
    const options = ['--rm', '--cni', '--snapshotter', 'native', '--cgroup', `/${GROUP}/${id}`]
    const mount = ['--mount', `type=bind,src=${folder},dst=/said,options=rbind:rw`]
    // On a busy machine ctr ends before it has copied all of what a short-lived container prints.
    const toFile = ['/bin/sh', '-c', 'exec "$@" >/said/all 2>&1', 'sh']
    await this.ctr('run', ...options, ...mount, IMAGE, id, ...toFile, ...command)
    return readFileSync(this.host.file(`${folder}/all`), 'utf8')
  }

  #cri(method: string, message: Message) {
    return call(this.host.file(SOCKET), `/runtime.v1.RuntimeService/${method}`, message)
  }

  /** CRI `RunPodSandbox`, then `PodSandboxStatus`. */
  async runPodSandbox(name: string, { attempt = 0, ports = [] }: SandboxRequest = {}): Promise<Sandbox> {
    const metadata = { 1: name, 2: `uid-${name}`, 3: 'default', 4: attempt }
    const mappings = ports.map(({ host, container }) => ({ 1: 0, 2: container, 3: host }))
    const config = { 1: metadata, 3: `/run/logs/${name}`, 5: mappings, 8: {} }
    const id = textOf(await this.#cri('RunPodSandbox', { 1: config }), 1)
    const status = decode((await this.#cri('PodSandboxStatus', { 1: id })).get(1)![0] as Buffer)
    const network = decode((status.get(5)?.[0] as Buffer | undefined) ?? Buffer.alloc(0))
    const moreIps = (network.get(2) ?? []).map((ip) => textOf(decode(ip as Buffer), 1))
    return { id, ip: textOf(network, 1), moreIps }
  }

  /** CRI `ListPodSandbox`: the ids of all that there are, running or not. */
  async sandboxes(): Promise<string[]> {
    const answer = await this.#cri('ListPodSandbox', {})
    return (answer.get(1) ?? []).map((one) => textOf(decode(one as Buffer), 1))
  }

  /** CRI `StopPodSandbox` and `RemovePodSandbox`. */
  async removePodSandbox(id: string): Promise<void> {
    await this.#cri('StopPodSandbox', { 1: id })
    await this.#cri('RemovePodSandbox', { 1: id })
  }

  /** Runs a program in the network namespace of a sandbox. @returns its output */
  inSandbox(names: readonly string[], file: string, args: readonly string[]): Promise<string> {
    return this.host.must('nsenter', [`--net=/run/netns/${names[0]}`, '--', file, ...args])
  }

  /** Answers whoever connects to a TCP port of a sandbox with a line. */
  listen(name: string, port: number, line: string): void {
    const server = ['busybox', 'nc', '-ll', '-p', String(port), '-e', 'echo', line]
    const [file, args] = this.host.command('nsenter', [`--net=/run/netns/${name}`, '--', ...server])
    spawn(file, args, { env: plainEnv, stdio: 'ignore' })
  }

  /** Names of the network namespaces that there are on the host. */
  async netnsNames(): Promise<string[]> {
    return (await this.host.must('ip', ['netns', 'list']))
      .split('\n')
      .map((line) => line.split(' ')[0]!)
      .filter((name) => name !== '')
  }
}
