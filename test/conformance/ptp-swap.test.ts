import { comparedOf } from './bridge/sides.ts'
import { swaps } from './bridge/swap.ts'
import { scenarios } from './ptp/scenarios.ts'

swaps(
  comparedOf(scenarios).filter(({ title }) =>
    [
      'both families',
      'two interfaces of a container',
      'several subnets of both families',
      'two addresses of a subnet with gateways of their own',
      '/128',
      'masquerade, both families, two containers',
      'masquerade by nftables',
      '0.3.1',
    ].includes(title),
  ),
)
