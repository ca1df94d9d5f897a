/** What the launcher (native/launcher/standalone.cc) adds for this program alone. */
const launchers = ['GLIBC_TUNABLES', 'glibc.malloc.hugetlb=1'] as const

/** This process's environment, for the programs it executes. */
export const hostEnvironment = (): Record<string, string> =>
  Object.fromEntries(
    Object.entries(process.env).filter(
      (entry): entry is [string, string] =>
        entry[1] !== undefined && !(entry[0] === launchers[0] && entry[1] === launchers[1]),
    ),
  )
