import * as z from 'zod/mini'
import type { Attachment } from '../../cni/plugin.ts'
import { commonConf, text, uint32 } from '../../cni/schema.ts'
import { aliasPrefix } from '../shared/identity.ts'

/** Every key of the vrf plugin. */
export const vrfConf = z.object({
  ...commonConf,
  /** The VRF's name, required but on DEL. It is made where there is none. */
  vrfname: z._default(text, ''),
  /** Its routing table. 0: that of the VRF, where there is one; otherwise one that nobody uses. */
  table: z._default(uint32, 0),
})

export type VrfAttachment = Attachment<z.infer<typeof vrfConf>>

/** The alias of a VRF that this plugin has made: it goes with its last interface. It belongs to no one attachment. */
export const vrfAlias = `${aliasPrefix}vrf`
