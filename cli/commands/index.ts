import type { Command } from '../command.ts'

/** A command in the list: its code is loaded when it is called. */
export interface Entry {
  readonly summary: string
  readonly load: () => Promise<Command>
}

const installing = (name: 'install' | 'uninstall') => async (): Promise<Command> =>
  (await import('./install/index.ts')).installCommands[name]!

const network = (name: 'add' | 'del' | 'check' | 'status') => async (): Promise<Command> =>
  (await import('./network.ts'))[name] as Command

/** Every command, in the order of the help. */
export const commands: Readonly<Record<string, Entry>> = {
  demo: {
    summary: 'make two real attachments on throwaway namespaces, ping, and remove them',
    load: async () => (await import('./demo/index.ts')).demo as Command,
  },
  add: { summary: 'attach a namespace to a network', load: network('add') },
  del: { summary: 'detach it again', load: network('del') },
  check: { summary: 'check that an attachment is as it was made', load: network('check') },
  status: { summary: 'tell whether a network could take attachments now', load: network('status') },
  gc: {
    summary: 'remove attachments that are no longer wanted',
    load: async () => (await import('./gc.ts')).gc as Command,
  },
  reconcile: {
    summary: 'make NAT, port mappings and firewall rules again that somebody has flushed',
    load: async () => (await import('./reconcile.ts')).reconcile as Command,
  },
  doctor: {
    summary: 'look for what would keep an attachment from being made',
    load: async () => (await import('./doctor/index.ts')).doctor as Command,
  },
  daemon: {
    summary: 'run the resident daemon that serves the plugins, or ask one how it is',
    load: async () => (await import('./daemon.ts')).daemon as Command,
  },
  schema: {
    summary: "print the JSON Schema of a plugin's configuration",
    load: async () => (await import('./schema.ts')).schema as Command,
  },
  install: { summary: 'put the plugins where container runtimes look for them', load: installing('install') },
  uninstall: { summary: 'take back what install has done', load: installing('uninstall') },
}
