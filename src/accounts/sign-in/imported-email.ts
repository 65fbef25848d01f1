import type { NormalEmail } from "../../auth/email-hash.ts";
import { FIND_SCHEME, foreignEmailHash, keyedEmailId, openScheme } from "../../auth/imported-email-hash.ts";
import { storedEmail } from "../../auth/stored-email.ts";
import type { RequestContext } from "../../request/context.ts";
import type { SignInDependencies } from "./dependencies.ts";

type Dependencies = Pick<
  SignInDependencies,
  "callPrivateFunction" | "emailHasher" | "privacyMode" | "sealer"
>;

/**
 * Gives an account that was imported with another system's hash of its address the keyed hash of Plinth, and outside of privacy
 * mode the address itself, once somebody types that address. No password is needed: the hash shows whose address it is.
 * @param sealedScheme the value of `FIND_SCHEME`
 */
export async function adoptImportedEmail(
  dependencies: Dependencies,
  sealedScheme: string,
  address: NormalEmail,
  request: RequestContext,
): Promise<void> {
  const { callPrivateFunction, emailHasher, sealer } = dependencies;
  const scheme = openScheme(sealer, sealedScheme);
  const foreign = foreignEmailHash(scheme, address);
  const { email, hash } = await storedEmail(dependencies, address);
  // The second form is that of rows which the system's own application wrote through the compatibility schema.
  const ids = [await keyedEmailId(emailHasher, foreign), foreign];
  await callPrivateFunction(request, "select private.adopt_imported_email($1, $2, $3, $4)", [
    scheme.system,
    ids,
    hash,
    email,
  ]);
}

/** The same for operations that do not look up the scheme with another statement. */
export async function adoptIfImported(
  dependencies: Dependencies,
  address: NormalEmail,
  request: RequestContext,
): Promise<void> {
  const text = `select ${FIND_SCHEME} as scheme`;
  const [found] = await dependencies.callPrivateFunction<{ scheme: string | null }>(request, text, []);
  if (found?.scheme) await adoptImportedEmail(dependencies, found.scheme, address, request);
}
