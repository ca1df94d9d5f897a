import { describe, expect, it } from 'vitest'
import { dispatch } from '../../../cni/dispatch.ts'
import { fakePlugin, hostWith, invocation } from './fake.ts'

describe('dispatch', () => {
  it('gives the result in the configuration version', async () => {
    const plugin = fakePlugin()
    const added = await dispatch(plugin, invocation('ADD', { cniVersion: '0.2.0' }), hostWith(plugin))
    expect(JSON.parse(JSON.stringify(added?.json))).toEqual({
      cniVersion: '0.2.0',
      ip4: { ip: '10.1.0.2/16', gateway: '10.1.0.1', routes: [{ dst: '0.0.0.0/0' }] },
      dns: {},
    })
    expect(plugin.journal).toEqual(['fake ADD'])
  })
})
