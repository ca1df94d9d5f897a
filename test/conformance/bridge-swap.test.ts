import { scenarios } from './bridge/scenarios.ts'
import { comparedOf } from './bridge/sides.ts'
import { swaps } from './bridge/swap.ts'

/** The part of the list that has something to leave behind, or to be checked. */
swaps(
  comparedOf(scenarios).filter(({ title }) =>
    [
      'nothing but a type',
      'macspoofchk',
      'two interfaces',
      'MAC of all three',
      'isDefaultGateway, both families',
      'the classic one of both',
      'the classic one with everything',
      'masquerade of two addresses',
      'several addresses of IPv4',
      'forceAddress',
      '0.3.1: the classic one',
      'masquerade by nftables',
      'portIsolation',
    ].includes(title),
  ),
)
