/** A plan is a list of steps: told with --dry-run, taken otherwise. */
import type { UndoStack } from '../../../cni/undo.ts'

/** What steps share while they are taken. */
export interface Progress {
  readonly undo: UndoStack
  readonly signal: AbortSignal
}

export interface Step {
  /** For programs. */
  readonly action:
    | 'mkdir'
    | 'copy'
    | 'verify'
    | 'save'
    | 'record'
    | 'switch'
    | 'place'
    | 'restore'
    | 'remove'
    | 'run'
  readonly path: string
  /** For people: `link /opt/cni/bin/bridge to …`. */
  readonly text: string
  /** Pushes its inverse before, or as soon as, it has an effect. */
  take(progress: Progress): void | Promise<void>
}

/** What can't be acted upon, and is told. */
export interface Note {
  readonly path: string
  readonly text: string
}

export interface Plan {
  readonly steps: readonly Step[]
  readonly notes: readonly Note[]
}
