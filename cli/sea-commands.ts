/**
 * What the single executable has for people and for services: a script of its own, which is read when it is asked for. In
 * the start-up snapshot every call of a plugin would have to pay for it. It shares nothing with the plugins' script.
 */
export { loadBindingBy } from '../native/binding.ts'
export { runCommandLine } from './command-line.ts'
export { runDhcpDaemon } from './dhcp-daemon.ts'
export { runDhcpLeases } from './dhcp-leases.ts'
