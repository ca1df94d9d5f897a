import { describe, expect, it } from 'vitest'
import { CniError } from '../../../cni/error.ts'
import { during, NetlinkError } from '../../../netlink/error.ts'

describe('CniError.from', () => {
  it('keeps a CniError', () => {
    const error = new CniError({ code: 7, msg: 'm' })
    expect(CniError.from(error, 'prefix: ')).toBe(error)
  })

  it('makes anything else code 999 and keeps it as the cause', () => {
    const cause = new TypeError('x')
    expect(CniError.from(cause, 'prefix: ')).toMatchObject({ code: 999, msg: 'prefix: x', cause })
    expect(CniError.from('text')).toMatchObject({ code: 999, msg: 'text', details: undefined })
  })

  it.each(['EMFILE', 'ENFILE'])('%s passes: code 11', (code) => {
    const cause = Object.assign(new Error(`open: ${code}`), { code, errno: 24, syscall: 'open' })
    expect(CniError.from(cause)).toMatchObject({ code: 11, msg: `open: ${code}`, cause })
    expect(CniError.from(during('list links', cause))).toMatchObject({ code: 11 })
  })

  it.each([
    [
      'add link eth0 (ipvlan)',
      95,
      'this kernel has no links of kind ipvlan: load its module (modprobe ipvlan)',
    ],
    ['add link eth0.5 (vlan)', 95, 'this kernel has no links of kind vlan: load its module (modprobe 8021q)'],
    ['add address 10.0.0.1/8', 95, undefined],
    ['add link eth0 (veth)', 17, undefined],
    ['set link 5', 1, 'CAP_NET_ADMIN is needed: run as root'],
  ])('%s, errno %i: %s', (op, errno, details) => {
    const error = new NetlinkError({ op, errno, kernelMessage: 'words' })
    expect(CniError.from(error)).toMatchObject({ code: 999, msg: error.message, details })
  })

  it('has the same advice where the socket could not be used', () => {
    const cause = Object.assign(new Error('socket: EPERM'), { code: 'EPERM', errno: 1, syscall: 'socket' })
    expect(CniError.from(during('open a netlink socket', cause))).toMatchObject({
      code: 999,
      msg: 'open a netlink socket: socket: EPERM',
      details: 'CAP_NET_ADMIN is needed: run as root',
    })
  })

  it('reads like libcni prints it', () => {
    expect(new CniError({ code: 7, msg: 'm', details: 'd' }).message).toBe('m; d')
    expect(new CniError({ code: 7, msg: 'm', details: '' }).message).toBe('m')
  })
})
