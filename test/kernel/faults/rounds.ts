/** Which calls change anything: lives in sweep.ts. */
export { changes, changing } from './sweep.ts'
