/** How another system computes its digest of a password. */
export interface ForeignScheme {
  /** A key of SCHEMES. */
  readonly name: string;
  /** The scheme's own cost parameters, under their names in PHC strings. */
  readonly cost: Readonly<Record<string, number>>;
  readonly salt: Buffer;
  /** Bytes of the digest. */
  readonly length: number;
}

export interface ForeignHash {
  readonly scheme: ForeignScheme;
  readonly digest: Buffer;
}

/** Computes bcrypt in another thread; `setting` is `$2b$`, the cost and the salt. */
export type BcryptHash = (password: string, setting: string) => Promise<string>;

/** A scheme without its salt and the values of its parameters. */
export interface SchemeKind {
  /** Names of the cost parameters, in the order in which they are stored. */
  readonly costs: readonly string[];
  /** Whether the digest can be computed at all. Every cost is a positive integer. */
  isValid(scheme: ForeignScheme): boolean;
  /**
   * Whether one computation takes at most 256 MiB and clearly less than a second: rejected sign-ins are answered after a second,
   * so that their time reveals no account, see SLOW_REFUSAL_MS.
   */
  isAffordable(scheme: ForeignScheme): boolean;
  /** The digest of the password as typed, without Plinth's normalization. */
  digest(password: string, scheme: ForeignScheme, bcrypt: BcryptHash): Promise<Buffer>;
}
