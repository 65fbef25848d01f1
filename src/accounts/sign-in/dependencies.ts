import type { EmailHasher } from "../../auth/email-hasher.ts";
import type { RelyingParty } from "../../auth/passkey.ts";
import type { PasswordHasher } from "../../auth/password-hash.ts";
import type { Sealer } from "../../auth/sealing.ts";
import type { AttemptLimits } from "../../limits/attempt-limits.ts";
import type { Providers } from "../../oauth/providers.ts";
import type { RequestContext } from "../../request/context.ts";
import type { CallPrivateFunction } from "../../request/service-caller.ts";
import type { CredentialMaker } from "./credentials.ts";

/** The signed-in user's own names, which a password may not contain. */
export interface Owner {
  readonly username: string;
  readonly email: string | null;
  readonly display_name: string | null;
  /** Whether the account requires a second factor. */
  readonly second_factor: boolean;
}

/** The dependencies of the sign-in operations. */
export interface SignInDependencies {
  readonly callPrivateFunction: CallPrivateFunction;
  readonly attemptLimits: AttemptLimits;
  readonly hasher: PasswordHasher;
  readonly sealer: Sealer;
  /** The relying party of passkeys and authenticator apps. */
  readonly relyingParty: RelyingParty;
  readonly emailHasher: EmailHasher;
  /** Addresses and names are stored as hashes; no statement may contain a plaintext address. */
  readonly privacyMode: boolean;
  readonly providers: Providers;
  readonly make: CredentialMaker;
  /** Number of recent passwords that may not be reused. */
  readonly passwordHistory: number;
  /** The service's name, which passwords may not contain. */
  readonly appName: string;
  /** Whether SMS can be sent. */
  readonly canSendSms: boolean;
  /** Records an error for the operator that the client must not see. Never throws. */
  readonly reportError: (error: unknown, request: RequestContext, userId: string) => void;
}
