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
  /** Whether nobody can sign in to the account without a second factor. */
  readonly second_factor: boolean;
}

/** What the operations work with. */
export interface SignInDependencies {
  readonly callPrivateFunction: CallPrivateFunction;
  readonly attemptLimits: AttemptLimits;
  readonly hasher: PasswordHasher;
  readonly sealer: Sealer;
  /** Whom passkeys and authenticator apps are for. */
  readonly relyingParty: RelyingParty;
  readonly emailHasher: EmailHasher;
  /** Addresses are stored and looked up by their hash only; no statement may carry a clear one. */
  readonly privacyMode: boolean;
  readonly providers: Providers;
  readonly make: CredentialMaker;
  /** How many of the last passwords may not be chosen again. */
  readonly passwordHistory: number;
  /** The service's name, which passwords may not contain. */
  readonly appName: string;
  /** Whether there is a way to send SMS. */
  readonly canSendSms: boolean;
  /** Keeps what the operator has to hear of and the client must not. Never throws. */
  readonly reportError: (error: unknown, request: RequestContext, userId: string) => void;
}
