import type { Json, JsonObject } from '../../../cni/types.ts'

/**
 * How bad it is. `failure`: an ADD would fail. `warning`: it would not, but something is not as it should be.
 * `unknown`: it could not be looked at.
 */
export type Severity = 'ok' | 'unknown' | 'warning' | 'failure'

/** What was looked at, and what came of it. */
export interface Finding {
  /** The same in every version and on every node, for programs: `kernel.link.ipvlan`, `network.pool.NAME`. */
  readonly id: string
  readonly severity: Severity
  /** One line. */
  readonly message: string
  /** What to do about it; one line. */
  readonly advice?: string | undefined
  /** What the judgement rests on. */
  readonly facts?: JsonObject | undefined
}

/** What a finding may say besides its message. */
export type More = Pick<Finding, 'advice' | 'facts'>

const of =
  (severity: Severity) =>
  (id: string, message: string, more: More = {}): Finding => ({ id, severity, message, ...more })

export const ok = of('ok')
export const unknown = of('unknown')
export const warning = of('warning')
export const failure = of('failure')

/** Something that was looked at, or why it could not be. */
export type Seen<T> =
  | { readonly seen: true; readonly value: T }
  | { readonly seen: false; readonly why: string }

/** Whether the reason is that this process may not look. */
export const isForbidden = (why: string): boolean =>
  /\b(EPERM|EACCES)\b|permission denied|not permitted|only root/i.test(why)

/** Without root many things can't be seen. */
export const unseen = (id: string, what: string, why: string): Finding =>
  unknown(id, `${what} could not be looked at: ${why}`, {
    ...(isForbidden(why) && { advice: 'run it as root' }),
  })

/** How many of a long list are told. */
const TOLD = 20

/** A list for {@link Finding.facts}: its length, and the first of it. */
export const listed = (items: readonly Json[]): JsonObject => ({
  count: items.length,
  first: items.slice(0, TOLD),
})

/** `1 lease`, `3 leases`. */
export const count = (number: number | bigint, one: string, many = `${one}s`): string =>
  `${number} ${number === 1 || number === 1n ? one : many}`
