/** The states of a client (RFC 2131 4.4, figure 5), and which may follow which. */

/**
 * `CHECKING` is the time in which an address is asked for by ARP before it is used (RFC 2131 4.4.1, RFC 5227);
 * `STOPPED` is the end: nothing is sent any more, and no timer runs.
 */
export type State =
  | 'INIT'
  | 'SELECTING'
  | 'REQUESTING'
  | 'CHECKING'
  | 'BOUND'
  | 'RENEWING'
  | 'REBINDING'
  | 'INIT-REBOOT'
  | 'REBOOTING'
  | 'STOPPED'

export const transitions: Readonly<Record<State, readonly State[]>> = {
  INIT: ['SELECTING', 'INIT-REBOOT', 'BOUND', 'STOPPED'],
  // No answer, or a refusal: once more from the start.
  SELECTING: ['REQUESTING', 'STOPPED'],
  REQUESTING: ['CHECKING', 'BOUND', 'INIT', 'STOPPED'],
  CHECKING: ['BOUND', 'INIT', 'STOPPED'],
  // Also where the machine slept past T2 or the end: RENEWING finds that out.
  BOUND: ['RENEWING', 'STOPPED'],
  RENEWING: ['BOUND', 'REBINDING', 'INIT', 'STOPPED'],
  REBINDING: ['BOUND', 'INIT', 'STOPPED'],
  'INIT-REBOOT': ['REBOOTING', 'STOPPED'],
  // No server contradicts: the lease is good for the rest of its time (RFC 2131 4.4.2).
  REBOOTING: ['BOUND', 'INIT', 'STOPPED'],
  STOPPED: [],
}

/** Whether an answer to a request is awaited. */
export const isAsking = (state: State): boolean =>
  state === 'REQUESTING' || state === 'RENEWING' || state === 'REBINDING' || state === 'REBOOTING'
