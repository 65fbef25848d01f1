import type { PasswordHasher } from "../../auth/password-hash.ts";
import type { Sealer } from "../../auth/sealing.ts";
import type { Providers } from "../../oauth/providers.ts";
import type { RequestContext } from "../request-context.ts";
import type { CallService } from "../service.ts";
import type { CredentialMaker } from "./credentials.ts";

/** The signed-in user's own names, which a password may not contain. */
export interface Owner {
  readonly username: string;
  readonly email: string | null;
}

/** What the operations work with. */
export interface SignInTools {
  readonly callService: CallService;
  readonly hasher: PasswordHasher;
  readonly sealer: Sealer;
  readonly providers: Providers;
  readonly make: CredentialMaker;
  readonly findOwner: (request: RequestContext) => Promise<Owner | undefined>;
}
