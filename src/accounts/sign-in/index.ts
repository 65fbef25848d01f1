import type { AccessTokens } from "../../auth/access-token.ts";
import type { RequestContext } from "../../request/context.ts";
import { createSecondFactors, type SecondFactors } from "../second-factor/index.ts";
import { type ChangeEmailInput, changeEmail } from "./change-email.ts";
import { type ChangePasswordInput, changePassword } from "./change-password.ts";
import { type CreateApiTokenInput, type CreatedApiToken, createApiToken } from "./create-api-token.ts";
import { type Credentials, createCredentialMaker, type SignInResult } from "./credentials.ts";
import type { SignInDependencies } from "./dependencies.ts";
import { type LoginInput, login } from "./login.ts";
import {
  type FinishProviderInput,
  type LinkedProfile,
  listProviders,
  type SignInProvider,
  type StartedProviderFlow,
  type StartProviderInput,
} from "./provider-flow.ts";
import { finishProviderLink, startProviderLink } from "./provider-link.ts";
import { finishProviderSignIn, startProviderSignIn } from "./provider-sign-in.ts";
import { refresh } from "./refresh.ts";
import { type RegisterInput, register } from "./register.ts";
import { type RequestPasswordResetInput, requestPasswordReset } from "./request-password-reset.ts";
import { type ResetPasswordInput, resetPassword } from "./reset-password.ts";
import { requestEmailVerification, type VerifyEmailInput, verifyEmail } from "./verify-email.ts";
import {
  type RequestPhoneVerificationInput,
  requestPhoneVerification,
  type VerifyPhoneInput,
  verifyPhone,
} from "./verify-phone.ts";

/**
 * The operations that accept or create credentials. All reject with PlinthError: BAD_USER_INPUT with `field`,
 * INVALID_CREDENTIALS, UNAUTHENTICATED, RATE_LIMITED, UNAVAILABLE when too many requests wait; or with the database's error.
 */
export interface SignIn extends SecondFactors {
  register(input: RegisterInput, request: RequestContext): Promise<Credentials>;
  login(input: LoginInput, request: RequestContext): Promise<SignInResult>;
  refresh(refreshToken: string, request: RequestContext): Promise<Credentials>;
  changePassword(input: ChangePasswordInput, request: RequestContext): Promise<Credentials>;
  createApiToken(input: CreateApiTokenInput, request: RequestContext): Promise<CreatedApiToken>;
  requestPasswordReset(input: RequestPasswordResetInput, request: RequestContext): Promise<void>;
  resetPassword(input: ResetPasswordInput, request: RequestContext): Promise<void>;
  requestEmailVerification(request: RequestContext): Promise<void>;
  verifyEmail(input: VerifyEmailInput, request: RequestContext): Promise<void>;
  changeEmail(input: ChangeEmailInput, request: RequestContext): Promise<void>;
  requestPhoneVerification(input: RequestPhoneVerificationInput, request: RequestContext): Promise<void>;
  verifyPhone(input: VerifyPhoneInput, request: RequestContext): Promise<void>;
  readonly providers: readonly SignInProvider[];
  startProviderSignIn(input: StartProviderInput, request: RequestContext): Promise<StartedProviderFlow>;
  finishProviderSignIn(input: FinishProviderInput, request: RequestContext): Promise<SignInResult>;
  startProviderLink(input: StartProviderInput, request: RequestContext): Promise<StartedProviderFlow>;
  finishProviderLink(input: FinishProviderInput, request: RequestContext): Promise<LinkedProfile>;
}

/** No database client is held while a password is hashed, because sign-ins waiting for a core would exhaust the pool. */
export function createSignIn(
  options: Omit<SignInDependencies, "make"> & { readonly accessTokens: AccessTokens },
): SignIn {
  const { accessTokens, ...others } = options;
  const dependencies: SignInDependencies = { ...others, make: createCredentialMaker(accessTokens) };
  return {
    ...createSecondFactors(dependencies),
    register: (input, request) => register(dependencies, input, request),
    login: (input, request) => login(dependencies, input, request),
    refresh: (refreshToken, request) => refresh(dependencies, refreshToken, request),
    changePassword: (input, request) => changePassword(dependencies, input, request),
    createApiToken: (input, request) => createApiToken(dependencies, input, request),
    requestPasswordReset: (input, request) => requestPasswordReset(dependencies, input, request),
    resetPassword: (input, request) => resetPassword(dependencies, input, request),
    requestEmailVerification: (request) => requestEmailVerification(dependencies, request),
    verifyEmail: (input, request) => verifyEmail(dependencies, input, request),
    changeEmail: (input, request) => changeEmail(dependencies, input, request),
    requestPhoneVerification: (input, request) => requestPhoneVerification(dependencies, input, request),
    verifyPhone: (input, request) => verifyPhone(dependencies, input, request),
    providers: listProviders(dependencies.providers),
    startProviderSignIn: (input, request) => startProviderSignIn(dependencies, input, request),
    finishProviderSignIn: (input, request) => finishProviderSignIn(dependencies, input, request),
    startProviderLink: (input, request) => startProviderLink(dependencies, input, request),
    finishProviderLink: (input, request) => finishProviderLink(dependencies, input, request),
  };
}
