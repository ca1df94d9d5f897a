/**
 * Telling whether somebody else has changed a directory. A modification time by itself does not: two changes within a
 * tick of the kernel's clock leave the same one, and clocks are set back. So a directory is given a time that no change
 * gives it: before 2001, drawn anew each time, and depending on the directory's inode, so that one that is restored
 * from a backup, or copied with its times, is not taken for the original.
 */
import { type Stats, statSync, utimesSync } from 'node:fs'

/** Seconds since 1970 before which stamps lie: 1 January 2001. */
const LATEST = 978_307_200

/** The part of a second that belongs to an inode and a second: one of 2^18. */
const partOf = (inode: number, seconds: number): number => {
  let mixed = Math.imul((inode % 2 ** 32) ^ (inode / 2 ** 32), 0x9e3779b1) ^ seconds
  mixed = Math.imul(mixed ^ (mixed >>> 16), 0x85ebca6b)
  mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35)
  return (mixed ^ (mixed >>> 16)) >>> 14
}

/** A new stamp: its seconds, which with the inode say everything. */
export const drawStamp = (): number => Math.floor(Math.random() * LATEST)

/** Gives the directory a stamp. @throws SystemError */
export const stamp = (dir: string, seconds: number): void => {
  // libuv sets whole microseconds. A part is four of them, and this is its middle.
  const time = seconds + (partOf(statSync(dir).ino, seconds) + 0.5) / 2 ** 18
  utimesSync(dir, time, time)
}

/** Whether it still has the stamp. Never, on file systems that keep whole seconds only. */
export const hasStamp = ({ mtimeMs, ino }: Stats, seconds: number): boolean =>
  Math.floor(mtimeMs / 1000) === seconds &&
  Math.floor((mtimeMs / 1000 - seconds) * 2 ** 18) === partOf(ino, seconds)
