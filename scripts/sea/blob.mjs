/**
 * What `node --experimental-sea-config` makes: `SeaSerializer::Write` of src/node_sea.cc, with the start-up snapshot in it
 * as `SnapshotData::ToBlob` of src/node_snapshotable.cc writes it. Both are Node's own affair, so every step is checked:
 * another Node is told by what is read, and not by what its executable does.
 */
const SEA_MAGIC = 0x143da20
const SNAPSHOT_MAGIC = 0x143da19

/** Lengths and indices have 8 bytes, flags 4. */
class Reader {
  constructor(bytes, name) {
    this.bytes = bytes
    this.name = name
    this.at = 0
  }

  take(size) {
    if (size > this.bytes.length - this.at) throw new Error(`${this.name} ends at ${this.at}`)
    this.at += size
    return this.bytes.subarray(this.at - size, this.at)
  }

  u32() {
    return this.take(4).readUInt32LE()
  }

  u64() {
    return Number(this.take(8).readBigUInt64LE())
  }

  string() {
    return this.take(this.u64())
  }

  magic(expected) {
    const found = this.u32()
    if (found !== expected)
      throw new Error(`${this.name} begins with ${found.toString(16)}, not ${expected.toString(16)}`)
  }

  skipIndices(count = this.u64()) {
    this.take(8 * count)
  }

  /** `PropInfo`s. */
  skipProperties() {
    for (let left = this.u64(); left > 0; left--) {
      this.string()
      this.u32()
      this.u64()
    }
  }
}

/** Where the code cache of Node's own modules begins, which is the last thing in a snapshot. */
const codeCacheIn = (snapshot) => {
  const reader = new Reader(snapshot, 'the start-up snapshot')
  reader.magic(SNAPSHOT_MAGIC)
  reader.take(1)
  for (let i = 0; i < 3; i++) reader.string()
  reader.u32()
  reader.take(reader.u32())
  // IsolateDataSerializeInfo
  reader.skipIndices()
  reader.skipProperties()
  // EnvSerializeInfo: async_hooks, tick_info, immediate_info, timeout_info, performance_state, and three more.
  reader.skipIndices(4)
  reader.skipIndices()
  reader.skipIndices(9)
  // RealmSerializeInfo
  for (let left = reader.u64(); left > 0; left--) reader.string()
  reader.skipProperties()
  reader.skipProperties()
  reader.u64()

  const start = reader.at
  for (let left = reader.u64(); left > 0; left--) {
    reader.string()
    reader.string()
  }
  if (reader.at !== snapshot.length) throw new Error('the start-up snapshot has something behind its end')
  return start
}

/**
 * Leaves out of a blob what V8 has compiled of Node's own modules: a start copies all 3.5 MB of it. What a call uses of
 * them was compiled before the snapshot was made, and is in there; what else is used is compiled at its first use.
 * @throws Error where this is no blob with a snapshot of the Node that this is written for
 */
export const withoutCodeCache = (blob) => {
  const reader = new Reader(blob, 'the blob')
  reader.magic(SEA_MAGIC)
  reader.u32()
  // Whether, and from where, further options are taken.
  reader.take(1)
  reader.string()
  const before = reader.at
  const snapshot = reader.string()
  const kept = codeCacheIn(snapshot) + 8
  const made = Buffer.concat([
    blob.subarray(0, before + 8),
    snapshot.subarray(0, kept),
    blob.subarray(reader.at),
  ])
  made.writeBigUInt64LE(BigInt(kept), before)
  made.writeBigUInt64LE(0n, before + kept)
  return made
}

/**
 * What `make` has made twice. About one snapshot in sixty is another than all the rest, for a reason that is not known:
 * where two differ a third one decides.
 * @param make returns an object with a `blob` @throws Error where all three differ
 */
export const agreed = (make) => {
  const made = [make()]
  while (made.length < 3) {
    const next = make()
    if (made.some(({ blob }) => blob.equals(next.blob))) return next
    made.push(next)
  }
  throw new Error('no two of three start-up snapshots are the same')
}
