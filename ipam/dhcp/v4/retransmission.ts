/** When a client says a thing again. */
import type { Lease4 } from './lease.ts'
import type { Pace } from './surroundings.ts'

/** How often a request is sent before the client begins anew. RFC 2131 3.1 has four times in a minute, but an ADD is waiting. */
export const REQUESTS = 3
/** Milliseconds before the next try after an address was found in use: RFC 2131 3.1 says ten seconds. */
const AFTER_DECLINE = 10_000
/** The same for the first time: one such address is chance, and an ADD is waiting. */
const AFTER_FIRST_DECLINE = 500
/** Milliseconds that RFC 2131 4.1 lets a repetition come early or late, at most. */
const MAX_JITTER = 1000
/** Milliseconds between renewals that stay without an answer, at least (RFC 2131 4.4.5). */
const LEAST_BETWEEN_RENEWALS = 60_000
/** The same for leases that have no such minutes: a part of them, but never less than this. */
const SHORT_LEASE_PARTS = 16
const LEAST_AT_ALL = 50

/**
 * Milliseconds until a message is repeated (RFC 2131 4.1): doubled each time, and some more or less.
 * @param tries how often it was repeated before
 * @param random of [0, 1)
 */
export const backoff = ({ firstTimeout, maxTimeout }: Pace, tries: number, random: number): number => {
  const base = Math.min(firstTimeout * 2 ** tries, maxTimeout)
  return base + (2 * random - 1) * Math.min(MAX_JITTER, base / 4)
}

/**
 * Milliseconds after a refusal: none the first time, as RFC 2131 3.1 has it, but a server that goes on refusing is not
 * to be asked in a loop.
 * @param refusals how many there were before
 */
export const afterRefusal = ({ firstTimeout, maxTimeout }: Pace, refusals: number): number =>
  refusals === 0 ? 0 : Math.min(firstTimeout * 2 ** (refusals - 1), maxTimeout)

/** Milliseconds after an address was declined. @param declines how many were before */
export const afterDecline = (declines: number): number =>
  declines === 0 ? AFTER_FIRST_DECLINE : AFTER_DECLINE

/** Milliseconds until a lease is asked for once more: half of the time that is left to T2, or to its end (RFC 2131 4.4.5). */
export const untilNextRenewal = (
  { obtainedAt, rebindAt, expiresAt }: Lease4,
  state: 'RENEWING' | 'REBINDING',
  now: number,
): number => {
  if (expiresAt === null) return LEAST_BETWEEN_RENEWALS
  const left = (state === 'RENEWING' && rebindAt !== null ? Math.min(rebindAt, expiresAt) : expiresAt) - now
  const part = Math.max(LEAST_AT_ALL, (expiresAt - obtainedAt) / SHORT_LEASE_PARTS)
  return Math.min(left, Math.max(left / 2, Math.min(LEAST_BETWEEN_RENEWALS, part)))
}
