/** What has to wait for what: each operation stands in a line a container and a line a network. */

/** Somebody in lines. */
export interface Waiter {
  /** Groups that are not open yet. */
  blocked: number
}

/** Neighbours in a line that do not wait for each other; somebody who is alone is a group by itself. */
export interface Group<W extends Waiter> {
  readonly lines: Lines<W>
  readonly line: Line<W>
  readonly shares: boolean
  readonly members: Set<W>
  isOpen: boolean
  before: Group<W> | undefined
  after: Group<W> | undefined
}

interface Line<W extends Waiter> {
  readonly name: string
  first: Group<W> | undefined
  last: Group<W> | undefined
}

/**
 * Lines by name, in order of arrival. Who is alone waits for everybody before; who shares waits for those before who are
 * alone. Whoever came stays until it is over, begun or not. No step depends on how many wait.
 */
export class Lines<W extends Waiter> {
  readonly #lines = new Map<string, Line<W>>()
  readonly #clear: (waiter: W) => void

  /** @param clear told who waits for nobody any more */
  constructor(clear: (waiter: W) => void) {
    this.#clear = clear
  }

  /** Stands at the end of a line. */
  enter(name: string, waiter: W, shares: boolean): Group<W> {
    let line = this.#lines.get(name)
    if (!line) {
      line = { name, first: undefined, last: undefined }
      this.#lines.set(name, line)
    }
    let group = line.last
    if (!group || !shares || !group.shares) {
      group = {
        lines: this,
        line,
        shares,
        members: new Set(),
        isOpen: line.first === undefined,
        before: line.last,
        after: undefined,
      }
      if (line.last) line.last.after = group
      else line.first = group
      line.last = group
    }
    group.members.add(waiter)
    if (!group.isOpen) waiter.blocked++
    return group
  }

  /** Is over, or gives up. */
  leave(group: Group<W>, waiter: W): void {
    const { line, members, before, after } = group
    members.delete(waiter)
    if (members.size > 0) return
    if (before) before.after = after
    else line.first = after
    if (after) after.before = before
    else line.last = before
    if (!line.first) this.#lines.delete(line.name)
    if (after && (!before || (before.isOpen && before.shares && after.shares))) this.#open(after)
  }

  /** Opens a group, and those behind it that it does not keep waiting: one that stood between them has given up. */
  #open(first: Group<W>): void {
    for (let group: Group<W> | undefined = first; group; group = group.after) {
      if (group !== first && !(group.shares && first.shares)) return
      if (group.isOpen) continue
      group.isOpen = true
      for (const waiter of group.members) if (--waiter.blocked === 0) this.#clear(waiter)
    }
  }
}
