/** The states of a client, and which may follow which. RFC 8415 section 18 tells it in words; there is no figure. */

/**
 * Named for what the client waits for: `SOLICITING` for offers, `REQUESTING` for the one it chose, `CHECKING` for the
 * link, which is asked whether somebody has the address (RFC 4862 section 5.4). `STOPPED` is the end: nothing is sent
 * any more, and no timer runs.
 */
export type State =
  | 'INIT'
  | 'SOLICITING'
  | 'REQUESTING'
  | 'CHECKING'
  | 'BOUND'
  | 'RENEWING'
  | 'REBINDING'
  | 'CONFIRMING'
  | 'DECLINING'
  | 'STOPPED'

export const transitions: Readonly<Record<State, readonly State[]>> = {
  INIT: ['SOLICITING', 'CONFIRMING', 'BOUND', 'STOPPED'],
  // Rapid commit needs no request.
  SOLICITING: ['REQUESTING', 'CHECKING', 'BOUND', 'STOPPED'],
  // The next server; a server that had forgotten the lease, and then says nothing more.
  REQUESTING: ['REQUESTING', 'CHECKING', 'BOUND', 'REBINDING', 'DECLINING', 'INIT', 'STOPPED'],
  // What is checked may end before the link has had its time.
  CHECKING: ['BOUND', 'DECLINING', 'INIT', 'STOPPED'],
  // T1; the machine slept over it, or there is no T1; the lease ends as T1 and T2 come.
  BOUND: ['RENEWING', 'REBINDING', 'DECLINING', 'INIT', 'STOPPED'],
  // Another address than before is checked like the first. NoBinding leads to a request.
  RENEWING: ['BOUND', 'CHECKING', 'REQUESTING', 'REBINDING', 'DECLINING', 'INIT', 'STOPPED'],
  REBINDING: ['BOUND', 'CHECKING', 'REQUESTING', 'DECLINING', 'INIT', 'STOPPED'],
  // No server contradicts: the lease is good for the rest of its time (section 18.2.3).
  CONFIRMING: ['BOUND', 'DECLINING', 'INIT', 'STOPPED'],
  // The address that was declined was to replace one that is still good.
  DECLINING: ['BOUND', 'INIT', 'STOPPED'],
  STOPPED: [],
}
