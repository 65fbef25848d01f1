import type { AccessTokens } from "../../auth/access-token.ts";
import type { RequestContext } from "../request-context.ts";
import { type ChangePasswordInput, changePassword } from "./change-password.ts";
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
import type { SignInTools } from "./tools.ts";

/**
 * The operations that take or make credentials. All reject with PlinthError: BAD_USER_INPUT with `field`,
 * INVALID_CREDENTIALS, UNAUTHENTICATED, UNAVAILABLE when too many wait; or with the database's error.
 */
export interface SignIn {
  register(input: RegisterInput, request: RequestContext): Promise<Credentials>;
  login(input: LoginInput, request: RequestContext): Promise<SignInResult>;
  refresh(refreshToken: string, request: RequestContext): Promise<Credentials>;
  changePassword(input: ChangePasswordInput, request: RequestContext): Promise<Credentials>;
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
    register: (input, request) => register(tools, input, request),
    login: (input, request) => login(tools, input, request),
    refresh: (refreshToken, request) => refresh(tools, refreshToken, request),
    changePassword: (input, request) => changePassword(tools, input, request),
    providers: listProviders(tools.providers),
    startProviderSignIn: (input, request) => startProviderSignIn(tools, input, request),
    finishProviderSignIn: (input, request) => finishProviderSignIn(tools, input, request),
    startProviderLink: (input, request) => startProviderLink(tools, input, request),
    finishProviderLink: (input, request) => finishProviderLink(tools, input, request),
  };
}
