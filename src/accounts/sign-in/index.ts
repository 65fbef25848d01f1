import type { AccessTokens } from "../../auth/access-token.ts";
import type { RequestContext } from "../../request/context.ts";
import { createSecondFactors, type SecondFactors } from "../second-factor/index.ts";
import { type ChangeEmailInput, changeEmail } from "./change-email.ts";
import { type ChangePasswordInput, changePassword } from "./change-password.ts";
import { type CreateApiTokenInput, type CreatedApiToken, createApiToken } from "./create-api-token.ts";
import { type Credentials, createCredentialMaker, type SignInResult } from "./credentials.ts";
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
import type { SignInTools } from "./tools.ts";
import { requestEmailVerification, type VerifyEmailInput, verifyEmail } from "./verify-email.ts";
import {
  type RequestPhoneVerificationInput,
  requestPhoneVerification,
  type VerifyPhoneInput,
  verifyPhone,
} from "./verify-phone.ts";

/**
 * The operations that take or make credentials. All reject with PlinthError: BAD_USER_INPUT with `field`,
 * INVALID_CREDENTIALS, UNAUTHENTICATED, RATE_LIMITED, UNAVAILABLE when too many wait; or with the database's error.
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

/** No database client is held while a password is hashed: sign-ins waiting for a core would hold the pool. */
export function createSignIn(
  options: Omit<SignInTools, "make"> & { readonly accessTokens: AccessTokens },
): SignIn {
  const { accessTokens, ...others } = options;
  const tools: SignInTools = { ...others, make: createCredentialMaker(accessTokens) };
  return {
    ...createSecondFactors(tools),
    register: (input, request) => register(tools, input, request),
    login: (input, request) => login(tools, input, request),
    refresh: (refreshToken, request) => refresh(tools, refreshToken, request),
    changePassword: (input, request) => changePassword(tools, input, request),
    createApiToken: (input, request) => createApiToken(tools, input, request),
    requestPasswordReset: (input, request) => requestPasswordReset(tools, input, request),
    resetPassword: (input, request) => resetPassword(tools, input, request),
    requestEmailVerification: (request) => requestEmailVerification(tools, request),
    verifyEmail: (input, request) => verifyEmail(tools, input, request),
    changeEmail: (input, request) => changeEmail(tools, input, request),
    requestPhoneVerification: (input, request) => requestPhoneVerification(tools, input, request),
    verifyPhone: (input, request) => verifyPhone(tools, input, request),
    providers: listProviders(tools.providers),
    startProviderSignIn: (input, request) => startProviderSignIn(tools, input, request),
    finishProviderSignIn: (input, request) => finishProviderSignIn(tools, input, request),
    startProviderLink: (input, request) => startProviderLink(tools, input, request),
    finishProviderLink: (input, request) => finishProviderLink(tools, input, request),
  };
}
