import { get, type Request } from '../request.ts'
import { generationLayout } from './attributes.ts'
import { NFT_MSG } from './constants.ts'

/**
 * The number of the rule set's generation: it changes with every transaction of anybody in the namespace. See
 * `generation` of a transaction's options. Never 0.
 */
export const getGeneration = (): Request<number> =>
  get(
    generationLayout,
    { op: 'get the generation of the rule set', type: NFT_MSG.getGen },
    ({ attributes }) => attributes.id ?? 0,
  )
