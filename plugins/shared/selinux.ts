import { readFileSync } from 'node:fs'
import { invalidConfig } from '../../cni/error.ts'
import { isErrno } from '../../netlink/index.ts'

/** The label of this process; null where the kernel does not run SELinux. */
const ownLabel = (): string | null => {
  try {
    return readFileSync('/proc/thread-self/attr/current', 'utf8').replace(/\0$/, '')
  } catch (error) {
    // ENOENT: a kernel without security modules; EINVAL: with none that keeps labels.
    if (isErrno(error, 'ENOENT', 'EINVAL')) return null
    throw error
  }
}

/**
 * Whether links can be made under an SELinux label: `user:role:type`, and mostly a level. Empty: under the process's own.
 * What its policy says is not asked.
 * @throws CniError code 7
 */
export const checkLabel = (label: string): void => {
  if (label === '') return
  if (label.includes('\0') || label.split(':').length < 3)
    throw invalidConfig(
      `invalid selinuxContext ${JSON.stringify(label)}`,
      'expected a label like system_u:system_r:container_t:s0',
    )
  // AppArmor has labels of another form: `unconfined`, `name (enforce)`.
  if ((ownLabel()?.split(':').length ?? 0) < 3)
    throw invalidConfig(
      `selinuxContext ${JSON.stringify(label)}: this machine's kernel does not run SELinux`,
      'leave it out, or enable SELinux',
    )
}
