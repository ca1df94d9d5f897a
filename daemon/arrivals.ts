/** Something that arrived. */
export interface Arrival {
  /** In order of arrival. */
  readonly number: number
  /** Where it is among {@link Arrivals}; -1: nowhere. Theirs to change. */
  place: number
}

/** A set that knows who came first: a binary heap. Adding and deleting take as long as the logarithm of its size. */
export class Arrivals<A extends Arrival> {
  readonly #heap: A[] = []

  get first(): A | undefined {
    return this.#heap[0]
  }

  add(one: A): void {
    this.#put(one, this.#heap.length)
    this.#rise(one)
  }

  /** That it is not there is no error. */
  delete(one: A): void {
    const { place } = one
    if (place < 0) return
    one.place = -1
    const last = this.#heap.pop()!
    if (last === one) return
    this.#put(last, place)
    this.#rise(last)
    this.#sink(last)
  }

  #put(one: A, place: number): void {
    this.#heap[place] = one
    one.place = place
  }

  #rise(one: A): void {
    while (one.place > 0) {
      const above = this.#heap[(one.place - 1) >> 1]!
      if (above.number < one.number) return
      this.#swap(above, one)
    }
  }

  #sink(one: A): void {
    for (;;) {
      const left = this.#heap[2 * one.place + 1]
      const right = this.#heap[2 * one.place + 2]
      const below = left && right && right.number < left.number ? right : left
      if (!below || below.number > one.number) return
      this.#swap(one, below)
    }
  }

  #swap(a: A, b: A): void {
    const { place } = a
    this.#put(a, b.place)
    this.#put(b, place)
  }
}
