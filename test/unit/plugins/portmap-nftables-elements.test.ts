import fc from 'fast-check'
import { expect, test } from 'vitest'
import { type Forwarding, type PortMapping, protocols } from '../../../plugins/portmap/forwarding.ts'
import {
  entryOf,
  mappingOf,
  markOf,
  networkMark,
  ownerComment,
  ownerMark,
  placesOf,
  wantedOf,
  wordsOf,
} from '../../../plugins/portmap/nftables-elements.ts'

const forwarding = (more: Partial<Forwarding> = {}): Forwarding => ({
  network: 'net',
  ifName: 'eth0',
  containerId: 'one',
  addresses: ['10.22.0.5/16', 'fd00::5/64'],
  mappings: [{ hostPort: 8080, containerPort: 80, protocol: 'tcp' }],
  snat: true,
  masqAll: false,
  conditionsV4: [],
  conditionsV6: [],
  markMasqBit: 13,
  externalSetMarkChain: '',
  ...more,
})

const port = fc.integer({ min: 1, max: 65_535 })
const mapping: fc.Arbitrary<PortMapping> = fc.record({
  hostPort: port,
  containerPort: port,
  protocol: fc.constantFrom(...protocols),
  hostIp: fc.option(fc.constantFrom('192.0.2.1', '2001:db8::1', '::ffff:192.0.2.9', '0.0.0.0', '::'), {
    nil: undefined,
  }),
})

test('the list of an attachment leads back to its elements', () => {
  fc.assert(
    fc.property(
      fc.array(mapping, { maxLength: 8 }),
      fc.boolean(),
      fc.boolean(),
      fc.integer({ min: 0, max: 32 }),
      (mappings, snat, masqAll, prefix) => {
        const addresses = [`10.22.0.5/${prefix}`, 'fd00::5/55']
        for (const wanted of wantedOf(forwarding({ mappings, snat, masqAll, addresses }))) {
          const { host, elements } = wanted
          const found = placesOf(host, elements.map(entryOf), [''])
          expect(found.map(({ set, element }) => [set.set, Buffer.from(element.key!.value!)])).toEqual(
            elements.map(({ set, element }) => [set.set, Buffer.from(element.key!.value!)]),
          )
          for (const placed of elements) {
            const read = mappingOf(placed)
            if (placed.set.set.startsWith('portmap_snat')) expect(read).toBeUndefined()
            else expect(mappings.map(({ hostPort }) => hostPort)).toContain(read!.hostPort)
          }
        }
      },
    ),
    { numRuns: 50 },
  )
})

test('what a list says stands for a port in every group, and only there', () => {
  const [{ host, elements }] = wantedOf(forwarding()) as [ReturnType<typeof wantedOf>[0]]
  const places = placesOf(host, elements.map(entryOf), ['', 'abcd'])
  expect(places.map(({ set }) => set.set)).toEqual([
    'portmap_any',
    'portmap_any_abcd',
    'portmap_snat_16',
    'portmap_snat_8',
  ])
  // What is no entry of ours leads nowhere.
  expect(placesOf(host, [{ key: { value: new Uint8Array(3) } }, {}], [''])).toEqual([])
})

test('of two mappings of one place the last one counts', () => {
  const twice: PortMapping[] = [80, 81].map((containerPort) => ({
    hostPort: 1,
    containerPort,
    protocol: 'tcp',
  }))
  const [v4] = wantedOf(forwarding({ mappings: twice, snat: false }))
  expect(v4!.elements.map(wordsOf)).toEqual(['port 1/tcp to 10.22.0.5:81'])
})

test('in words', () => {
  const all = wantedOf(
    forwarding({ mappings: [{ hostPort: 1, containerPort: 2, protocol: 'udp', hostIp: '2001:db8::1' }] }),
  )
  expect(all.flatMap(({ elements }) => elements.map(wordsOf))).toEqual([
    'port 1/udp of 2001:db8::1 to [fd00::5]:2',
    'masquerade from the network fd00:: to fd00::5 (portmap_snat_64)',
  ])
  const [v4] = wantedOf(forwarding({ masqAll: true }))
  expect(v4!.elements.map(wordsOf).at(-1)).toBe('masquerade to 10.22.0.5 (portmap_snat_0)')
})

test('comments fit nft, and tell owners apart', () => {
  const long = forwarding({ network: 'n'.repeat(200), containerId: 'c'.repeat(200) })
  const [v4] = wantedOf(long)
  for (const { element } of v4!.elements) {
    expect(Buffer.byteLength(ownerComment(long))).toBeLessThanOrEqual(128)
    expect(markOf(element)).toBe(ownerMark(long))
    expect(markOf(element)!.startsWith(networkMark(long.network))).toBe(true)
  }
  const marks = [
    forwarding(),
    forwarding({ network: 'other' }),
    forwarding({ ifName: 'eth1' }),
    forwarding({ containerId: 'two' }),
  ].map(ownerMark)
  expect(new Set(marks).size).toBe(4)
  expect(markOf({ key: { value: new Uint8Array(8) } })).toBeUndefined()
})
