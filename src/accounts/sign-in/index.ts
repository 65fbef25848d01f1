import type { AccessTokens } from "../../auth/access-token.ts";
import { type Bound, bind } from "../../support/bind.ts";
import { SECOND_FACTOR_OPERATIONS } from "../second-factor/index.ts";
import { changeEmail } from "./change-email.ts";
import { changePassword } from "./change-password.ts";
import { createApiToken } from "./create-api-token.ts";
import { createCredentialMaker } from "./credentials.ts";
import type { SignInDependencies } from "./dependencies.ts";
import { login } from "./login.ts";
import { listProviders, type SignInProvider } from "./provider-flow.ts";
import { finishProviderLink, startProviderLink } from "./provider-link.ts";
import { finishProviderSignIn, startProviderSignIn } from "./provider-sign-in.ts";
import { refresh } from "./refresh.ts";
import { register } from "./register.ts";
import { requestPasswordReset } from "./request-password-reset.ts";
import { resetPassword } from "./reset-password.ts";
import { requestEmailVerification, verifyEmail } from "./verify-email.ts";
import { requestPhoneVerification, verifyPhone } from "./verify-phone.ts";

/** Each takes the dependencies, its input if it has one, and the request. */
const OPERATIONS = {
  ...SECOND_FACTOR_OPERATIONS,
  register,
  login,
  refresh,
  changePassword,
  createApiToken,
  requestPasswordReset,
  resetPassword,
  requestEmailVerification,
  verifyEmail,
  changeEmail,
  requestPhoneVerification,
  verifyPhone,
  startProviderSignIn,
  finishProviderSignIn,
  startProviderLink,
  finishProviderLink,
};

/**
 * The operations that accept or create credentials. All reject with PlinthError: BAD_USER_INPUT with `field`,
 * INVALID_CREDENTIALS, UNAUTHENTICATED, RATE_LIMITED, UNAVAILABLE when too many requests wait; or with the database's error.
 */
export interface SignIn extends Bound<typeof OPERATIONS> {
  readonly providers: readonly SignInProvider[];
}

/** No database client is held while a password is hashed, because sign-ins waiting for a core would exhaust the pool. */
export function createSignIn(
  options: Omit<SignInDependencies, "make"> & { readonly accessTokens: AccessTokens },
): SignIn {
  const { accessTokens, ...others } = options;
  const dependencies: SignInDependencies = { ...others, make: createCredentialMaker(accessTokens) };
  return { ...bind(OPERATIONS, dependencies), providers: listProviders(dependencies.providers) };
}
